// A whole day of a merchant: add a webhook, receive, break the receiver, see it fail, repair it, resend, recover what
// is missing, rotate the secret, pause, resume and recover, and at last delete it.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { isSignedWith } from "./endpoint.mjs";

export async function day({ platform, endpoint, visits, size, hands }) {
  const visit = await visits.open(await platform.link(), { size, fails: [400] });
  const { page } = visit;
  const hand = new hands(page);
  const press = (name) => hand.press(visit.button(name));
  const link = (name) => page.getByRole("link", { name });

  // What to do first is said, with the button for it.
  await visit.heading("No webhook yet").waitFor();
  await visit.picture("day-1-empty");
  await press("Add a webhook");
  const dialog = visit.dialog();
  await hand.write(dialog.getByLabel("Address"), "ftp://merchant");
  await press("Add it");
  // What the API says of a field stands at the field, which gets the focus.
  const address = dialog.getByLabel("Address");
  await dialog.locator(".error").waitFor();
  assert.equal(await address.getAttribute("aria-invalid"), "true");
  assert.ok(await address.evaluate((field) => field === document.activeElement), "the wrong field has the focus");
  await hand.write(address, endpoint.url);
  await hand.choose(dialog.getByLabel("These only"));
  await hand.choose(dialog.getByLabel("session.expired"), false);
  await press("Add it");

  // The secret, once.
  await dialog.getByText("This is the only time that the secret is shown.").waitFor();
  await visit.picture("day-2-secret");
  const secret = await dialog.locator(".secret code").innerText();
  assert.match(secret, /^whsec_[A-Za-z0-9+/]{48}$/);
  await press("Copy the secret");
  await page.getByText("Copied the secret.").waitFor();
  assert.equal(await clipboard(page), secret);
  await page.keyboard.press("Escape");
  assert.ok(await dialog.isVisible(), "a slip does not close what is shown once");
  await hand.choose(dialog.getByLabel("I have kept it"));
  await press("Done");
  await visit.heading(endpoint.url).waitFor();
  assert.ok(!(await page.content()).includes(secret), "the secret is not on the page any more");

  // A test, and its answer.
  await press("Send a test");
  await visit.heading("Test").waitFor();
  await page.getByText("thank you").waitFor();
  assert.ok(isSignedWith(endpoint.received.at(-1), secret));

  // An event comes.
  const first = await platform.publish("session.completed", { sessionId: "ses_1", amount: 25.5 }, `payment-${size}-${hands.name}`);
  const row = (id) => page.locator(".row").filter({ hasText: id });
  await row(first).getByText("Delivered").waitFor();
  assert.ok(isSignedWith(endpoint.of(first)[0], secret));

  // The receiver breaks, and the merchant sees why, what to do, and when it goes on.
  endpoint.status = 500;
  endpoint.answer = "TypeError: order is undefined";
  const second = await platform.publish("session.completed", `{"sessionId": "ses_2", "amount": 25.00, "note": "it's \\u00e4"}`);
  await row(second).getByText("returned 500").waitFor();
  await page.getByText("Nothing has been accepted since").first().waitFor();
  await visit.picture("day-3-failing");
  await hand.press(row(second).getByRole("link"));
  await page.getByText("its code failed; look into its log at this time").first().waitFor();
  await page.getByText("The next attempt is made").waitFor();
  const countdown = page.locator(".lead .countdown");
  const before = await countdown.innerText();
  assert.match(before, /^in (\d+ h|\d+ min)/);
  await page.waitForFunction((text) => document.querySelector(".lead .countdown").textContent !== text, before);
  await page.getByText("TypeError: order is undefined").waitFor();
  await visit.picture("day-4-delivery");

  // The same request from a shell, signed with the merchant's own secret.
  await page.getByRole("button", { name: "Copy as curl" }).waitFor();
  await press("Copy as curl");
  await page.getByText("Copied the request").waitFor();
  const script = (await clipboard(page)).replace("whsec_…", secret);
  const { stdout } = await promisify(execFile)("bash", ["-c", script]);
  assert.match(stdout, /^HTTP\/1.1 500/);
  const [sent, byHand] = endpoint.of(second);
  assert.equal(byHand.body, sent.body, "the script sends the very bytes");
  assert.ok(isSignedWith(byHand, secret), "the script signs them");

  // It is repaired, and the event sent again.
  endpoint.status = 204;
  endpoint.answer = "";
  await press("Resend now");
  await page.getByText("The endpoint accepted it.", { exact: true }).waitFor();
  await page.locator(".title .status").getByText("Delivered").waitFor();
  assert.equal(endpoint.of(second).at(-1).headers["webhook-attempt"], "2");

  // A proof of it.
  await press("Proof");
  await dialog.getByText("webhookId").waitFor();
  await press("Copy the proof");
  await page.getByText("Copied the proof").waitFor();
  assert.match(await clipboard(page), /^[\w-]+\.[\w-]+\.[\w-]+$/);
  const [download] = await Promise.all([page.waitForEvent("download"), press("Save as a file")]);
  assert.equal(download.suggestedFilename(), `${second}.proof.jwt`);
  await press("Close");
  await dialog.waitFor({ state: "detached" });

  // An event that nobody was subscribed to: subscribe, and recover it, after it was counted.
  const missed = await platform.publish("session.expired", { sessionId: "ses_3" });
  await hand.press(link(endpoint.url));
  await press("Edit");
  await hand.choose(dialog.getByLabel("session.expired"));
  await press("Save");
  await page.getByText("The webhook was changed.").waitFor();
  await dialog.waitFor({ state: "detached" });
  await press("Recover");
  await page.getByText("there is nothing to send again.").first().waitFor();
  await hand.choose(dialog.getByLabel("Missing"));
  await page.getByText("1 delivery matches now").waitFor();
  await visit.picture("day-5-recover");
  await press("Recover 1 delivery");
  await visit.heading("Recovery: done").waitFor();
  await page.getByText("1 of 1 delivery queued").waitFor();
  await row(missed).getByText("Delivered").waitFor();
  assert.equal(endpoint.of(missed).length, 1);
  await press("Close");

  // A new secret: until the grace ends, both sign.
  await press("Rotate secret");
  await hand.choose(dialog.getByLabel("One week"));
  await dialog.getByText("each delivery has two signatures").waitFor();
  await press("Rotate");
  await dialog.getByText("This is the only time that the secret is shown.").waitFor();
  const rotated = await dialog.locator(".secret code").innerText();
  assert.notEqual(rotated, secret);
  await hand.choose(dialog.getByLabel("I have kept it"));
  await press("Done");
  await page.getByText(`beside it whsec_****${secret.slice(-4)} until`).waitFor();
  const third = await platform.publish("session.completed", { sessionId: "ses_4" });
  await row(third).getByText("Delivered").waitFor();
  for (const one of [secret, rotated]) assert.ok(isSignedWith(endpoint.of(third)[0], one));

  // Paused, nothing is sent, and nothing is lost: it is recovered afterwards.
  await press("Pause");
  await page.getByText("It is paused.").waitFor();
  const suppressed = await platform.publish("session.completed", { sessionId: "ses_5" });
  await row(suppressed).getByText("Suppressed").waitFor();
  assert.equal(endpoint.of(suppressed).length, 0);
  await hand.select(page.getByLabel("Status"), "Suppressed");
  await row(third).waitFor({ state: "detached" });
  await row(suppressed).waitFor();
  await hand.select(page.getByLabel("Status"), "Any status");
  await press("Resume");
  await page.getByText("Deliveries go on.").waitFor();
  await press("Recover");
  await page.getByText("1 delivery matches now").waitFor();
  await press("Recover 1 delivery");
  await row(suppressed).getByText("Delivered").waitFor();
  await visit.picture("day-6-webhook");

  // The event is found by what the platform calls it, and shows who got it.
  await hand.press(link("Events"));
  await hand.write(page.getByLabel("Find an event by its id, or by the publisher's"), `payment-${size}-${hands.name}`);
  await press("Find");
  await page.getByText(first).waitFor();
  await page.locator(".row").filter({ hasText: endpoint.url }).getByText("Delivered").waitFor();

  // The webhook goes.
  await hand.press(link("Webhooks"));
  await hand.press(link(endpoint.url));
  await press("Delete");
  await press("Delete it");
  await visit.heading("No webhook yet").waitFor();
  await visit.close();
}

const clipboard = (page) => page.evaluate(() => globalThis.copied);
