// Pages of the portal, each watched: what it asks for, what the browser complains of, and what it keeps.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export class Visits {
  constructor({ browser, base, axe, screenshots, sizes }) {
    Object.assign(this, { browser, base, screenshots, sizes });
    this.axe = readFileSync(axe, "utf8");
  }

  // Opens a link. `fails`: the statuses of the API that the visit is to meet, of which the console has a line each.
  async open(link, { size = "desktop", colorScheme = "light", fails = [], elsewhere = [] } = {}) {
    const context = await this.browser.newContext({
      viewport: this.sizes[size],
      hasTouch: size === "phone",
      isMobile: size === "phone",
      colorScheme,
      locale: "en-GB",
      timezoneId: "Europe/Berlin",
      acceptDownloads: true,
    });
    await context.grantPermissions(["clipboard-write"], { origin: this.base });
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    const visit = new Visit({ visits: this, context, page, size, colorScheme, code: new URL(link).hash.slice("#code=".length) });
    visit.watch(fails, elsewhere);
    await page.addInitScript(() => {
      globalThis.violations = [];
      // The page's policy lets nobody read the clipboard.
      const write = navigator.clipboard?.writeText.bind(navigator.clipboard);
      if (write) navigator.clipboard.writeText = (text) => write(text).then(() => void (globalThis.copied = text));
      addEventListener("securitypolicyviolation", (event) => violations.push(`${event.violatedDirective}: ${event.blockedURI}`));
      // When the first list is there and drawn.
      new MutationObserver((_, observer) => {
        if (!document.querySelector("main .rows, main .empty")) return;
        observer.disconnect();
        requestAnimationFrame(() => setTimeout(() => (globalThis.drawnAt = performance.now())));
      }).observe(document, { childList: true, subtree: true });
    });
    await page.goto(link);
    return visit;
  }
}

class Visit {
  requests = [];
  wrong = [];
  bytes = 0;

  constructor(given) {
    Object.assign(this, given);
  }

  watch(fails, elsewhere) {
    const { page } = this;
    page.on("request", (request) => {
      const url = new URL(request.url());
      this.requests.push(request.url(), ...Object.values(request.headers()));
      const isOwn = url.origin === this.visits.base || ["data:", "blob:"].includes(url.protocol);
      if (!isOwn && !elsewhere.includes(url.origin)) this.wrong.push(`asked ${url.href}`);
    });
    page.on("response", (response) => {
      if (new URL(response.url()).pathname.startsWith("/portal")) this.bytes += Number(response.headers()["content-length"] ?? 0);
    });
    page.on("console", (message) => {
      if (!["error", "warning"].includes(message.type())) return;
      const status = Number(/status of (\d+)/.exec(message.text())?.[1]);
      if (!fails.includes(status)) this.wrong.push(`${message.text()} ${message.location().url}`);
    });
    page.on("pageerror", (error) => this.wrong.push(error.stack));
  }

  button(name) {
    return this.page.getByRole("button", { name, exact: true });
  }

  heading(name) {
    return this.page.getByRole("heading", { name });
  }

  dialog() {
    return this.page.getByRole("dialog").or(this.page.getByRole("alertdialog"));
  }

  async picture(name) {
    const file = join(this.visits.screenshots, `portal-${name}-${this.size}-${this.colorScheme}.png`);
    const fullPage = (await this.page.locator("dialog").count()) === 0;
    await this.page.screenshot({ path: file, fullPage });
  }

  // What is shown fits the screen and is accessible, as axe-core sees it.
  async isGood(shown) {
    const width = await this.page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= this.visits.sizes[this.size].width, `${shown} is ${width} wide on ${this.size}`);
    await this.page.evaluate(this.visits.axe);
    const violations = await this.page.evaluate(async () => {
      // That one asks for 7 to 1.
      const rules = { "color-contrast-enhanced": { enabled: false } };
      const found = await axe.run(document, { rules });
      return found.violations.flatMap(({ id, impact, nodes }) => nodes.map(({ html }) => `${impact} ${id}: ${html.slice(0, 200)}`));
    });
    assert.deepEqual(violations, [], `${shown}, ${this.size}, ${this.colorScheme}`);
  }

  // Nothing was asked of others, nothing broke the policy, the code went nowhere, and nothing is kept.
  async close() {
    const left = await this.page.evaluate(() => ({
      violations: globalThis.violations,
      hash: location.hash,
      stored: localStorage.length + sessionStorage.length,
      cookies: document.cookie,
    }));
    assert.deepEqual(left.violations, [], "the content security policy");
    assert.ok(!left.hash.includes(this.code), "the code is out of the address bar");
    assert.equal(left.stored, 0, "nothing is stored");
    assert.equal(left.cookies, "");
    assert.deepEqual(await this.context.cookies(), []);
    assert.ok(this.code.length > 20, "a code");
    const lines = this.requests.filter((text) => text.includes(this.code));
    assert.deepEqual(lines, [], "the code is in no request line and no header");
    assert.deepEqual(this.wrong, []);
    await this.context.close();
  }
}
