// A merchant at /docs with a real browser:
//   node docs.mjs MODULES CHROMIUM BASE APPLICATION TOKEN SCREENSHOTS AXE
// MODULES holds playwright-core; SCREENSHOTS gets the pictures; AXE is axe-core's script. Prints the IDs of the webhooks that it
// creates, one at a desk and one on a phone, a line each.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, chromiumPath, base, application, token, screenshots, axePath] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, "/"))("playwright-core");

const TABS = [
  ["Shell", "curl"],
  ["Python", "requests.post("],
  ["JavaScript", "fetch('"],
  ["Go", "http.NewRequest("],
  ["Ruby", "Net::HTTP"],
];
const SIZES = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } };

const browser = await chromium.launch({
  executablePath: chromiumPath,
  args: process.getuid() === 0 ? ["--no-sandbox"] : [],
});
try {
  for (const [name, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of ["light", "dark"]) {
      await looks(name, viewport, colorScheme);
    }
  }
  await createsAWebhook();
  await createsAWebhookOnAPhone();
  await carriesIdsOver();
  for (const [name, viewport] of Object.entries(SIZES)) {
    await showsEventTypes(name, viewport);
    await copiesSamples(name, viewport);
  }
} finally {
  await browser.close();
}

// A page, and what went wrong on it: what it asked of other hosts, and what the browser complained
// about, such as a breach of the page's policy.
async function open(path, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const wrong = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== base && !["data:", "blob:"].includes(url.protocol)) wrong.push(url.href);
  });
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) wrong.push(message.text());
  });
  page.on("pageerror", (error) => wrong.push(error.message));
  const response = await page.goto(base + path);
  assert.equal(response.status(), 200, path);
  return { context, page, wrong };
}

// How bright the page's ground is, from 0 to 255.
function brightness(page) {
  return page.evaluate(() => {
    const canvas = document.createElement("canvas").getContext("2d");
    canvas.fillStyle = getComputedStyle(document.body).backgroundColor;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data[0];
  });
}

async function looks(name, viewport, colorScheme) {
  const pages = {
    docs: ["/docs", "Webhooks"],
    receivers: ["/docs/receivers", "A receiver, whole"],
    receiving: ["/docs/receiving", "In five steps"],
  };
  for (const [file, [path, heading]] of Object.entries(pages)) {
    const { context, page, wrong } = await open(path, { viewport, colorScheme });
    await page.getByRole("heading", { name: heading, exact: true }).first().waitFor();
    await page.screenshot({ path: join(screenshots, `${file}-${name}-${colorScheme}.png`) });
    const ground = await brightness(page);
    assert.ok(colorScheme === "dark" ? ground < 64 : ground > 192, `${path}: ${ground}`);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= viewport.width, `${path} is ${width} wide on ${viewport.width}`);
    assert.deepEqual(wrong, [], path);
    if (name === "desktop") await isAccessible(page, `${path} in ${colorScheme}`);
    await context.close();
  }
}

// Contrast of 4.5 to 1 and a name for everything that can be used, as axe-core sees them, on the whole page.
async function isAccessible(page, shown) {
  // What is off the screen is made when it comes near.
  const height = () => page.evaluate(() => document.documentElement.scrollHeight);
  for (let y = 0; y < (await height()); y += 900) {
    await page.evaluate((to) => window.scrollTo(0, to), y);
    await page.waitForTimeout(50);
  }
  await page.evaluate(readFileSync(axePath, "utf8"));
  const violations = await page.evaluate(async () => {
    const values = ["cat.color", "cat.name-role-value", "cat.forms", "cat.text-alternatives", "cat.aria"];
    // That one asks for 7 to 1.
    const rules = { "color-contrast-enhanced": { enabled: false } };
    const found = await axe.run(document, { runOnly: { type: "tag", values }, rules });
    return found.violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 200)}`));
  });
  assert.deepEqual(violations, [], shown);
}

async function createsAWebhook() {
  const { context, page, wrong } = await open("/docs", { viewport: SIZES.desktop });

  await goTo(page, "Create application webhook");

  // The languages, with the keyboard alone.
  const tabs = page.getByRole("tab");
  await tabs.filter({ hasText: "Shell" }).first().focus();
  const sample = page.locator("#reference pre").filter({ hasText: "Authorization" });
  for (const [name, text] of TABS) {
    await page.getByRole("tab", { name, selected: true }).first().waitFor();
    await sample.filter({ hasText: text }).first().waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.innerText.trim()), name);
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
  }

  // The base URL can be edited, and every sample follows.
  const server = page.locator("input").and(page.getByRole("textbox")).first();
  assert.equal(await server.inputValue(), base);
  await server.fill("https://api.example.com");
  await sample.filter({ hasText: "https://api.example.com/api/v1" }).first().waitFor();
  await server.fill(base);
  await sample.filter({ hasText: `${base}/api/v1` }).first().waitFor();

  await send(page, "created-desktop-light.png");
  assert.deepEqual(wrong, []);
  await context.close();
}

// By the list of operations, where each has its method after its name.
async function goTo(page, title) {
  const name = new RegExp(`^\\s*${title}(\\s+HTTP Method.*)?\\s*$`, "i");
  const operation = page.getByRole("link", { name });
  await operation.or(page.getByRole("button", { name })).first().click();
}

// What a response names stands in the fields, and in the code, of the operations after it; and the token is
// typed once.
async function carriesIdsOver() {
  const { context, page, wrong } = await open("/docs", { viewport: SIZES.desktop });
  await page.getByPlaceholder("Token").first().fill(token);
  const dialog = page.getByRole("dialog");
  const send = async (title, method, path) => {
    await goTo(page, title);
    await page.getByRole("button", { name: `Test Request (${method.toLowerCase()} ${path})` }).click();
    const [response] = await Promise.all([
      page.waitForResponse((answer) => answer.request().method() === method),
      dialog.getByRole("button", { name: "Send" }).first().click(),
    ]);
    assert.ok(response.ok(), await response.text());
    const { id } = await response.json();
    await dialog.getByText(id).first().waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    return { id, url: response.request().url() };
  };
  const applications = "/api/v1/applications";
  const created = await send("Create application", "POST", applications);
  const webhooks = `${applications}/{applicationId}/webhooks`;
  const webhook = await send("Create application webhook", "POST", webhooks);
  assert.equal(webhook.url, `${base}${applications}/${created.id}/webhooks`);
  const read = await send("Get application webhook", "GET", `${webhooks}/{webhookId}`);
  assert.equal(read.url, `${webhook.url}/${webhook.id}`);
  await goTo(page, "Rotate signing secret");
  await page.locator("#reference pre").filter({ hasText: `${read.url}/rotate` }).first().waitFor();
  assert.deepEqual(wrong, []);
  await context.close();
}

// Each type has its name for people, and the body of a delivery.
async function showsEventTypes(name, viewport) {
  const { context, page, wrong } = await open("/docs", { viewport });
  for (const [title, type] of [["Session completed", "session.completed"], ["Session expired", "session.expired"]]) {
    if (name === "phone") await page.getByRole("button", { name: "Open Menu" }).click();
    await goTo(page, title);
    await page.getByRole("heading", { name: title, exact: true }).waitFor();
    // What is delivered, as an example.
    const example = page.locator("#reference pre").filter({ hasText: `"type": "${type}"` });
    await example.filter({ hasText: "ses_8c1f" }).first().waitFor();
  }
  await page.screenshot({ path: join(screenshots, `event-type-${name}.png`) });
  assert.deepEqual(wrong, []);
  await context.close();
}

// The buttons copy what the page shows.
async function copiesSamples(name, viewport) {
  const permissions = ["clipboard-read", "clipboard-write"];
  const { context, page, wrong } = await open("/docs/receivers", { viewport, permissions });
  for (const language of ["Python", "JavaScript", "Go", "Ruby", "PHP", "Java", "C#"]) {
    const button = page.getByRole("button", { name: `Copy: ${language}`, exact: true });
    await button.click();
    await button.filter({ hasText: "Copied" }).waitFor();
    const shown = await page.getByRole("region", { name: language, exact: true }).innerText();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.equal(copied.trim(), shown.trim(), language);
    assert.ok(copied.includes("WEBHOOK_SECRET"), language);
  }
  await page.evaluate(() => document.querySelector("#formula").scrollIntoView());
  await page.screenshot({ path: join(screenshots, `receivers-formula-${name}.png`) });
  await page.evaluate(() => document.querySelector("#php").scrollIntoView());
  await page.screenshot({ path: join(screenshots, `receivers-php-${name}.png`) });
  assert.deepEqual(wrong, []);
  await context.close();
}

async function createsAWebhookOnAPhone() {
  const { context, page, wrong } = await open("/docs", { viewport: SIZES.phone, hasTouch: true });
  await page.getByRole("button", { name: "Open Menu" }).click();
  await goTo(page, "Create application webhook");
  await send(page, "created-phone-light.png");
  assert.deepEqual(wrong, []);
  await context.close();
}

// Fills in the token and the application, and presses "Send" where it is on the screen.
async function send(page, screenshot) {
  await page.getByPlaceholder("Token").first().fill(token);
  await page.getByRole("button", { name: "Test Request (post /api/v1/applications/{applicationId}/webhooks)" }).click();
  const dialog = page.getByRole("dialog");
  const field = dialog.getByRole("combobox", { name: "Value" }).first();
  await field.fill(application);
  await field.press("Tab");
  const button = dialog.getByRole("button", { name: "Send" }).first();
  // Playwright would scroll to it where people cannot: what counts is where it is.
  const { x, y, width, height } = await button.boundingBox();
  const screen = page.viewportSize();
  const visible = x >= 0 && y >= 0 && x + width <= screen.width && y + height <= screen.height;
  assert.ok(visible, `"Send" is at ${x},${y} on a screen of ${screen.width} by ${screen.height}`);
  const [response] = await Promise.all([
    page.waitForResponse((answer) => answer.request().method() === "POST"),
    page.mouse.click(x + width / 2, y + height / 2),
  ]);
  const request = response.request();
  assert.equal(request.url(), `${base}/api/v1/applications/${application}/webhooks`);
  assert.equal((await request.allHeaders()).authorization, `Bearer ${token}`);
  assert.equal(response.status(), 201, await response.text());
  const { id } = await response.json();
  await dialog.getByText("201 Created").first().waitFor();
  await dialog.getByText(id).first().waitFor();
  await page.screenshot({ path: join(screenshots, screenshot) });
  console.log(id);
}
