// The API, as the page asks it: with the session's token, each resource's ETag, and errors as one class.

import { at, end, session } from "./session.js";

/** Why a request failed: the API's error body, or that there was no answer. */
export class ApiError extends Error {
  /**
   * @param {number} status 0: there was no answer
   * @param {{message?: string, reason?: string, details?: {field: string, message: string}[]}} body
   * @param {Headers} [headers]
   */
  constructor(status, body, headers) {
    super(body.message ?? "The service returned something else than it documents.");
    this.status = status;
    this.reason = body.reason;
    this.details = body.details ?? [];
    const retryAfter = Number(headers?.get("retry-after"));
    this.retryAfterSeconds = retryAfter > 0 ? retryAfter : null;
    this.requestId = headers?.get("x-request-id") ?? null;
  }

  /** What is wrong with a field of the request; undefined: nothing. @param {string} field */
  of(field) {
    return this.details.find((detail) => detail.field === field)?.message;
  }
}

/**
 * Sends a request under the application of the session.
 *
 * @param {string} method
 * @param {string} path what comes after `/api/v1/applications/{applicationId}`, or all of it from `/api/`
 * @param {{body?: object, query?: Record<string, string | number | undefined>, ifMatch?: string,
 *   idempotencyKey?: string}} [options]
 * @returns {Promise<{value: any, text: string, etag: string | null}>} `text` is the body as it came
 */
export async function send(method, path, { body, query, ifMatch, idempotencyKey } = {}) {
  const current = session.value;
  if (!current) throw new ApiError(401, { message: "The session has ended." });
  const url = path.startsWith("/api/")
    ? path
    : `/api/v1/applications/${encodeURIComponent(current.applicationId)}${path}`;
  /** @type {Record<string, string>} */
  const headers = { authorization: `Bearer ${current.token}` };
  if (body) headers["content-type"] = "application/json";
  if (ifMatch) headers["if-match"] = ifMatch;
  if (idempotencyKey) headers["idempotency-key"] = idempotencyKey;
  let response;
  try {
    response = await fetch(at(url) + search(query), {
      method,
      headers,
      body: body && JSON.stringify(body),
      // What others changed is to be seen; and the token is all that says who asks.
      cache: "no-store",
      credentials: "omit",
    });
  } catch {
    throw new ApiError(0, { message: "The service cannot be reached. Are you online?" });
  }
  const text = await response.text();
  const value = parse(text);
  if (response.ok) return { value, text, etag: response.headers.get("etag") };
  // 401 with a token that was good means that it is not any more: it expired, or the platform ended it.
  if (response.status === 401) end();
  throw new ApiError(response.status, value ?? {}, response.headers);
}

/** @param {string} path @param {Record<string, string | number | undefined>} [query] */
export const get = (path, query) => send("GET", path, { query });

/** A query string of what has a value. @param {Record<string, string | number | undefined>} [query] */
function search(query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** A new key for a request that must take effect once, however often it is repeated. */
export const newKey = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
};

/** @type {Promise<import("./types.js").DeliveryPolicy> | undefined} */
let policy;

/** The schedule and limits of deliveries, asked for once. */
export function deliveryPolicy() {
  policy ??= get("/api/v1/delivery-policy").then(({ value }) => value);
  policy.catch(() => (policy = undefined));
  return policy;
}

/** @type {Promise<import("./types.js").EventType[]> | undefined} */
let types;

/** The event types that there are, asked for once. */
export function eventTypes() {
  types ??= get("/api/v1/event-types").then(({ value }) => value.items);
  types.catch(() => (types = undefined));
  return types;
}

/** Their names. */
export const eventTypeNames = async () => (await eventTypes()).map(({ name }) => name);

/** Every webhook of the application, the newest first. @returns {Promise<import("./types.js").Webhook[]>} */
export async function webhooks() {
  const all = [];
  for (let page = 1; ; page += 1) {
    const { value } = await get("/webhooks", { page, limit: 100 });
    all.push(...value.items);
    if (!value.hasNextPage) return all;
  }
}
