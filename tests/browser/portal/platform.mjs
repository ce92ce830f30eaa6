// What the platform and the merchant's backend do, by the API.
import assert from "node:assert/strict";

export class Platform {
  constructor({ base, application, merchant, publisher }) {
    Object.assign(this, { base, application, merchant, publisher });
  }

  // Asks under the application; asserts the status.
  async ask(method, path, { token = this.merchant, body, headers = {}, expect } = {}) {
    const response = await fetch(`${this.base}/api/v1/applications/${this.application}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body && { "content-type": "application/json" }),
        ...headers,
      },
      body: typeof body === "string" ? body : body && JSON.stringify(body),
    });
    const text = await response.text();
    assert.equal(response.status, expect, `${method} ${path}: ${text}`);
    return text ? JSON.parse(text) : null;
  }

  // A link to the portal.
  async link(capabilities = ["view", "viewPayloads", "resend", "manageWebhooks", "rotateSecrets"]) {
    const { url } = await this.ask("POST", "/portal-sessions", { body: { capabilities }, expect: 201 });
    const whole = new URL(url, this.base);
    assert.match(whole.hash, /^#code=/, "the code is in the fragment");
    assert.equal(whole.pathname, "/portal");
    return `${this.base}/portal${whole.hash}`;
  }

  // Ends all sessions.
  endSessions() {
    return this.ask("DELETE", "/portal-sessions", { expect: 204 });
  }

  // Publishes an event, and returns its id. `data` can be JSON as it is to be spelled.
  async publish(type, data, key = `${type}-${Math.random()}`) {
    const event = await this.ask("POST", "/events", {
      token: this.publisher,
      body: `{"type": ${JSON.stringify(type)}, "data": ${typeof data === "string" ? data : JSON.stringify(data)}}`,
      headers: { "idempotency-key": key },
      expect: 202,
    });
    return event.id;
  }
}
