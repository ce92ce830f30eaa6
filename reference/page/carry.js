// What a request and its response name is filled into the operations after it: once an application is
// created or asked for, its id stands in the fields of every operation, and the same for webhooks, events and
// recoveries.
"use strict";

// The ids of a path, the outer ones first. A new outer one makes those within it unknown.
const WITHIN = {
  applicationId: ["webhookId", "eventId", "recoveryId"],
  webhookId: ["recoveryId"],
  eventId: [],
  recoveryId: [],
};

// The creates, of which the response has the id.
const CREATES = {
  "/api/v1/applications": "applicationId",
  "/api/v1/applications/{applicationId}/webhooks": "webhookId",
  "/api/v1/applications/{applicationId}/events": "eventId",
  "/api/v1/applications/{applicationId}/webhooks/{webhookId}/recoveries": "recoveryId",
};

globalThis.Carry = class {
  #templates;
  #known = {};

  // The document's paths, as patterns of what is requested.
  constructor(paths) {
    this.#templates = Object.keys(paths).map((template) => {
      const pattern = template.replace(/[.]/g, "[.]").replace(/\{(\w+)\}/g, "(?<$1>[^/]+)");
      return { template, pattern: new RegExp(`${pattern}$`) };
    });
    // One with fewer ids is more exact: `…/events/digest` is no event.
    const ids = ({ template }) => template.split("{").length;
    this.#templates.sort((a, b) => ids(a) - ids(b));
  }

  // Notes what a successful request was about, and whether that is new.
  async learn(request, response) {
    if (!response.ok) return false;
    const { pathname } = new URL(request.url, location.href);
    const matched = this.#templates.find(({ pattern }) => pattern.test(pathname));
    if (!matched) return false;
    const before = JSON.stringify(this.#known);
    for (const [name, id] of Object.entries(pathname.match(matched.pattern).groups ?? {})) {
      this.#note(name, decodeURIComponent(id));
    }
    const created = request.method === "POST" ? CREATES[matched.template] : undefined;
    if (created) {
      const { id } = await response.json();
      // A recovery's dry run makes none.
      if (typeof id === "string") this.#note(created, id);
    }
    return JSON.stringify(this.#known) !== before;
  }

  #note(name, id) {
    if (!(name in WITHIN) || this.#known[name] === id) return;
    for (const inner of WITHIN[name]) delete this.#known[inner];
    this.#known[name] = id;
  }

  // Fills what is known into the fields of a document of Scalar's, and puts the examples back where
  // nothing is known any more.
  fill(paths) {
    for (const path of Object.values(paths)) {
      for (const operation of Object.values(path)) {
        for (const parameter of operation.parameters ?? []) {
          const field = parameter.examples?.default;
          if (parameter.in !== "path" || !field || !(parameter.name in WITHIN)) continue;
          parameter["x-example"] ??= field.value;
          const value = this.#known[parameter.name] ?? parameter["x-example"];
          if (field.value !== value) field.value = value;
        }
      }
    }
  }
};
