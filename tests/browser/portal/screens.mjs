// What each screen keeps to: it fits, is accessible, says what a link does not allow, and what is wrong in words.
import assert from "node:assert/strict";

import { isSignedWith } from "./endpoint.mjs";
import { modules } from "./modules.mjs";

// What is in the receiver of each language.
const RECEIVERS = {
  JavaScript: "import",
  Go: "package main",
  Ruby: "require",
  PHP: "<?php",
  Java: "import java",
  "C#": "using System",
  Python: "import",
};

// The largest that the whole page may be, compressed.
const MAX_BYTES = 150_000;

export async function screens({ platform, endpoint, visits }) {
  const seen = await something({ platform, endpoint });
  for (const size of ["desktop", "phone"]) {
    for (const colorScheme of ["light", "dark"]) await everyScreen({ platform, endpoint, visits, seen, size, colorScheme });
  }
  await signatures({ platform, endpoint, visits, seen });
  await aConflictIsShown({ platform, visits, seen });
  await whatALinkDoesNotAllow({ platform, endpoint, visits, seen });
  await everyNameHasWords({ platform, visits });
  await modules({ platform, visits });
  await aLinkOpensOnce({ platform, visits });
  await aSecretOutlastsTheSession({ platform, endpoint, visits });
  await whenTheSessionEnds({ platform, visits });
}

// A webhook that works, one that fails, one that is paused, and events of them.
async function something({ platform, endpoint }) {
  const webhook = async (path, more = {}) => {
    const created = await platform.ask("POST", "/webhooks", { body: { url: `${endpoint.url}${path}`, ...more }, expect: 201 });
    return { id: created.id, url: created.url, secret: created.signingSecret };
  };
  const good = await webhook("/good", { subscribedEvents: ["session.completed"] });
  const paused = await webhook("/paused", { subscribedEvents: ["*"] });
  await platform.ask("PATCH", `/webhooks/${paused.id}`, { body: { isActive: false }, expect: 200 });
  const succeeded = await platform.publish("session.completed", { sessionId: "ses_8c1f", amount: "25.00", currency: "EUR" });
  await until(() => endpoint.of(succeeded).length === 1);
  // Nobody listens there.
  const bad = await webhook("/bad", { subscribedEvents: ["session.expired"] });
  endpoint.status = 404;
  endpoint.answer = "<h1>Not Found</h1>";
  const failing = await platform.publish("session.expired", { sessionId: "ses_8c20" });
  await until(() => endpoint.of(failing).length === 1);
  return { good, paused, bad, succeeded, failing, received: endpoint.of(succeeded)[0] };
}

async function everyScreen({ platform, visits, seen, size, colorScheme }) {
  const { good, bad, succeeded, failing } = seen;
  const visit = await visits.open(await platform.link(), { size, colorScheme, fails: [400] });
  const { page } = visit;
  const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number)[0]);
  assert.ok(colorScheme === "dark" ? ground < 64 : ground > 192, `the ground is ${ground} in ${colorScheme}`);
  const show = async (address, text, name, more = async () => {}) => {
    await page.evaluate((to) => (location.hash = to), address);
    await page.getByText(text).first().waitFor();
    await more();
    await visit.isGood(name);
    await visit.picture(name);
  };
  await show("#/webhooks", "Last 24 hours", "webhooks", async () => {
    for (const state of ["Healthy", "Failing", "Paused"]) await page.getByText(state, { exact: true }).waitFor();
  });
  await show(`#/webhooks/${bad.id}`, "returned 404", "webhook");
  await show(`#/webhooks/${bad.id}/deliveries/${failing}`, "nothing is at this path", "delivery", async () => {
    await page.getByText("is SHA-256").or(page.getByText("the very bytes that are signed")).first().waitFor();
  });
  await show("#/events", succeeded, "events");
  await show(`#/events/${succeeded}`, "ses_8c1f", "event");
  await show("#/event-types", "session.completed", "event-types", async () => {
    await page.locator("summary", { hasText: "session.completed" }).click();
    await page.getByRole("region", { name: "Example of session.completed" }).getByText("sessionId").waitFor();
    for (const [language, text] of Object.entries(RECEIVERS)) {
      await page.getByRole("tab", { name: language, exact: true }).click();
      await page.getByRole("region", { name: `Receiver in ${language}` }).getByText(text).first().waitFor();
    }
  });
  await show("#/signature", "Paste it as your server got it", "signature");

  // The dialogs.
  await show(`#/webhooks/${good.id}`, good.url, "dialog-test");
  for (const [button, title, name] of [
    ["Edit", "Edit the webhook", "dialog-edit"],
    ["Rotate secret", "Rotate the secret", "dialog-rotate"],
    ["Recover", "Recover deliveries", "dialog-recover"],
    ["Delete", "Delete this webhook?", "dialog-delete"],
  ]) {
    const opener = visit.button(button);
    await opener.click();
    await visit.heading(title).waitFor();
    if (name === "dialog-recover") await page.getByText(/match(es)? now|nothing to send/).first().waitFor();
    await visit.isGood(name);
    await visit.picture(name);
    // The focus stays within, and goes back to what opened it.
    for (let step = 0; step < 40; step += 1) {
      await page.keyboard.press("Tab");
      const where = await page.evaluate(() => document.activeElement.closest("dialog") !== null || document.activeElement === document.body);
      assert.ok(where, `${name}: the focus left the dialog`);
    }
    await page.keyboard.press("Escape");
    await visit.dialog().waitFor({ state: "detached" });
    assert.ok(await opener.evaluate((element) => element === document.activeElement), `${name}: the focus is back`);
  }
  await measure(visit);
  await visit.close();
}

// How large the page is, with every file that a screen has asked for, and how soon it has shown what the merchant
// came for.
async function measure({ page, bytes, size, colorScheme }) {
  assert.ok(bytes > 10_000, `${bytes} bytes`);
  assert.ok(bytes < MAX_BYTES, `the page has ${bytes} bytes, compressed`);
  const { drawn, preloaded, needed } = await page.evaluate(async () => {
    // What the two scripts import, and what that imports, but not what is loaded later.
    const needed = new Set();
    const follow = async (url) => {
      const text = await (await fetch(url)).text();
      for (const [, name] of text.matchAll(/(?:from|import)\s*"(\.[^"]+)"/g)) {
        const next = new URL(name, url).href;
        if (needed.has(next)) continue;
        needed.add(next);
        await follow(next);
      }
    };
    for (const { src } of document.scripts) await follow(src);
    const preloaded = Array.from(document.querySelectorAll("link[rel=modulepreload]"), ({ href }) => href);
    return { drawn: Math.round(globalThis.drawnAt), preloaded: preloaded.sort(), needed: Array.from(needed).sort() };
  });
  assert.deepEqual(preloaded, needed, "index.html preloads what the first screen needs, and nothing else");
  console.log(`${size}, ${colorScheme}: ${bytes} bytes, compressed; the first list drawn after ${drawn} ms`);
}

async function signatures({ platform, visits, seen }) {
  const { good, received } = seen;
  assert.ok(isSignedWith(received, good.secret));
  const visit = await visits.open(await platform.link());
  const { page } = visit;
  await page.getByRole("link", { name: "Signatures" }).click();
  await page.getByLabel("Webhook", { exact: true }).selectOption({ label: good.url });
  const headers = Object.entries(received.headers).map(([name, value]) => `${name}: ${value}`);
  await page.getByLabel("Headers").fill(headers.join("\n"));
  await page.getByText("Found: webhook-id, webhook-timestamp, webhook-signature").waitFor();
  const body = page.getByLabel("Body", { exact: true });
  await body.fill(received.body);
  await visit.button("Check it").click();
  await page.getByText("It verifies").waitFor();
  await body.fill(JSON.stringify(JSON.parse(received.body), null, 2));
  await visit.button("Check it").click();
  await page.getByText("The body was parsed and written again").waitFor();
  await visit.picture("signature-found");
  await visit.isGood("a signature that does not verify");
  // The very bytes, out of a file.
  await page.getByLabel("Or the body as a file").setInputFiles({ name: "body.json", mimeType: "application/json", buffer: Buffer.from(received.body) });
  await visit.button("Check it").click();
  await page.getByText("It verifies").waitFor();
  await visit.close();
}

async function aConflictIsShown({ platform, visits, seen }) {
  const { good } = seen;
  const visit = await visits.open(await platform.link(), { fails: [412] });
  const { page } = visit;
  await page.getByRole("link", { name: good.url }).click();
  await visit.button("Edit").click();
  const dialog = visit.dialog();
  await dialog.getByLabel("Address").fill(`${good.url}/mine`);
  await platform.ask("PATCH", `/webhooks/${good.id}`, { body: { subscribedEvents: ["session.completed", "session.expired"] }, expect: 200 });
  await visit.button("Save").click();
  await visit.heading("Somebody else changed it meanwhile").waitFor();
  await dialog.getByText("is now", { exact: true }).waitFor();
  await dialog.getByText("session.completed and session.expired").waitFor();
  await visit.picture("conflict");
  await visit.isGood("a conflict");
  await visit.button("Go on with my changes").click();
  await visit.button("Save").click();
  await page.getByText("The webhook was changed.").waitFor();
  const now = await platform.ask("GET", `/webhooks/${good.id}`, { expect: 200 });
  assert.equal(now.url, `${good.url}/mine`);
  assert.deepEqual(now.subscribedEvents, ["session.completed", "session.expired"], "theirs is not undone");
  await platform.ask("PATCH", `/webhooks/${good.id}`, { body: { url: good.url, subscribedEvents: ["session.completed"] }, expect: 200 });
  await visit.close();
}

async function whatALinkDoesNotAllow({ platform, endpoint, visits, seen }) {
  const { good, succeeded } = seen;
  const visit = await visits.open(await platform.link(["view"]));
  const { page } = visit;
  await page.getByText("The link that opened this page does not allow").waitFor();
  await page.getByRole("link", { name: good.url }).click();
  const count = endpoint.received.length;
  for (const name of ["Send a test", "Pause", "Edit", "Rotate secret", "Recover", "Delete"]) {
    const button = page.getByRole("button", { name });
    assert.equal(await button.getAttribute("aria-disabled"), "true", name);
    await button.click({ force: true });
    const why = await button.evaluate((element) => document.getElementById(element.getAttribute("aria-describedby")).textContent);
    assert.match(why, /^This link does not allow /, name);
  }
  assert.equal(await page.locator("dialog").count(), 0);
  assert.equal(endpoint.received.length, count, "nothing was sent");
  await visit.isGood("a webhook that may be looked at only");
  await visit.picture("view-only");
  await page.getByRole("link").filter({ hasText: "session.completed" }).first().click();
  await page.getByText("This link does not show what events hold.").waitFor();
  assert.equal(await page.getByRole("button", { name: "Resend now" }).getAttribute("aria-disabled"), "true");
  assert.equal(await page.getByText("ses_8c1f").count(), 0);
  await page.evaluate((id) => (location.hash = `#/events/${id}`), succeeded);
  await page.getByText("This link does not show what events hold.").waitFor();
  await visit.isGood("an event whose data are not shown");
  await visit.close();
}

// Whatever the API names has words on the page.
async function everyNameHasWords({ platform, visits }) {
  const visit = await visits.open(await platform.link());
  const missing = await visit.page.evaluate(async () => {
    const [words, { KNOWN_ERRORS }, document] = await Promise.all([
      import("/portal/words.js"),
      import("/portal/failures.js"),
      fetch("/openapi.json").then((response) => response.json()),
    ]);
    const { schemas } = document.components;
    // An enum is one schema, or one of each of its names.
    const names = (schema) => schema.enum ?? (schema.oneOf ?? schema.anyOf ?? []).flatMap(names);
    const lacks = (name, known, schema = schemas[name]) => {
      const all = names(schema);
      if (all.length === 0) return [`${name} has no names`];
      return all.filter((one) => !known.includes(one)).map((one) => `${name} ${one}`);
    };
    return [
      ...lacks("AttemptError", KNOWN_ERRORS),
      ...lacks("AttemptError", Object.keys(words.ATTEMPT_ERRORS)),
      ...lacks("AttemptTrigger", Object.keys(words.TRIGGERS)),
      ...lacks("DeliveryStatus", Object.keys(words.DELIVERY_STATUSES)),
      ...lacks("DeliveryReason", Object.keys(words.DELIVERY_REASONS)),
      ...lacks("disabledReason", Object.keys(words.DISABLED_REASONS), schemas.WebhookHealth.properties.disabledReason),
      ...lacks("WebhookState", Object.keys(words.WEBHOOK_STATES)),
      ...lacks("Reason", Object.keys(words.SIGNATURE_REASONS)),
      ...lacks("RecoveryStatus", Object.keys(words.RECOVERY_STATUSES)),
      ...lacks("StopReason", Object.keys(words.STOP_REASONS)),
      ...lacks("skippedByReason", Object.keys(words.SKIPPED), { enum: Object.keys(schemas.SkippedByReason.properties) }),
    ];
  });
  assert.deepEqual(missing, []);
  await visit.close();
}

async function aLinkOpensOnce({ platform, visits }) {
  const link = await platform.link();
  const first = await visits.open(link);
  await first.heading("Webhooks").waitFor();
  const second = await visits.open(link, { fails: [410] });
  await second.heading("This link has been used, or is too old").waitFor();
  await second.isGood("a link that was used");
  await second.picture("spent");
  // A new link in the same tab opens it.
  const next = await platform.link();
  second.code = new URL(next).hash.slice("#code=".length);
  await second.page.evaluate((hash) => (location.hash = hash), new URL(next).hash);
  await second.heading("Webhooks").waitFor();
  await second.close();
  await first.close();
}

async function whenTheSessionEnds({ platform, visits }) {
  // What platform.rs configures as `portal_refresh_url`.
  const refresh = "https://dashboard.example.com";
  const visit = await visits.open(await platform.link(), { fails: [401], elsewhere: [refresh] });
  const { page } = visit;
  await page.route(`${refresh}/**`, (route) => route.fulfill({ contentType: "text/html", body: "<h1>The dashboard</h1>" }));
  await visit.heading("Webhooks").waitFor();
  await platform.endSessions();
  // What is shown is asked for again and again, and so the page learns of it.
  await visit.heading("This session has ended").waitFor();
  await visit.isGood("a session that has ended");
  await visit.picture("ended");
  await visit.heading("The dashboard").waitFor();
  assert.ok(page.url().startsWith(refresh));
  assert.deepEqual(visit.wrong, []);
  await visit.context.close();
}

// A secret is shown once: the end of the session takes it from nobody.
async function aSecretOutlastsTheSession({ platform, endpoint, visits }) {
  const visit = await visits.open(await platform.link(), { fails: [401] });
  const { page } = visit;
  await visit.button("Add a webhook").click();
  const dialog = visit.dialog();
  await dialog.getByLabel("Address").fill(`${endpoint.url}/secret`);
  await visit.button("Add it").click();
  await dialog.getByText("This is the only time that the secret is shown.").waitFor();
  const refused = page.waitForResponse((response) => response.status() === 401);
  await platform.endSessions();
  await refused;
  assert.ok(await dialog.locator(".secret code").isVisible());
  await dialog.getByLabel("I have kept it").check();
  await visit.button("Done").click();
  await visit.heading("This session has ended").waitFor();
  await visit.button("Stay here").click();
  await visit.close();
}

async function until(holds) {
  for (let step = 0; step < 600; step += 1) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("it did not come about within a minute");
}
