// Why an attempt failed, and what to do about it: one sentence, for whoever runs the endpoint.

import { duration } from "./time.js";

/** What to do about a status. @type {Record<number, string>} */
const STATUSES = {
  400: "its code refuses the request; look into its log at this time, most often it expects another body.",
  401: "something asks for a login; let this path through without one, since the signature proves who sent it.",
  403: "something in front of it, such as a firewall, refuses the request; let POST through to this path.",
  404: "nothing is at this path; correct the webhook's URL, or add the route.",
  405: "the path does not take POST; correct the webhook's URL, or the route's method.",
  408: "it waited for the body; something between does not pass it on.",
  410: "it says that it is gone for good; a second 410 ends the webhook. Change what it returns if that is wrong.",
  413: "the body is too large for it; raise the limit of your server or proxy.",
  415: "it does not take JSON; accept `content-type: application/json` at this path.",
  422: "its code refuses the body; return 2xx for event types that it does not know.",
  429: "it limits requests; raise the limit, or let it go on with its `Retry-After`.",
  500: "its code failed; look into its log at this time.",
  501: "it does not know what to do with a POST; look at the route.",
  502: "the proxy in front of it has no application behind it; look whether that is running.",
  503: "it is overloaded or being deployed; the next attempt may do.",
  504: "the proxy in front of it waited too long; answer first, and do the work afterwards.",
};

/** @type {Record<string, (attempt: import("./types.js").Attempt) => string>} */
const ERRORS = {
  blockedAddress: () =>
    "The host leads to a private or reserved address, where nothing is sent: give the endpoint a public address.",
  dns: (attempt) => `The name ${host(attempt.url)} was not found: correct the URL, or its DNS record.`,
  connect: () => "No connection was made: nothing listens there, or a firewall refuses it. Start it, or open the port.",
  tls: () =>
    "There was no TLS: the certificate must be in date, issued for this host with its whole chain, and by a public authority.",
  timeout: (attempt) =>
    `Nothing was returned within ${duration(Math.max(1000, Math.round(attempt.durationMs / 1000) * 1000))}: answer first, and do the work afterwards.`,
  protocol: () => "The connection ended before a status came, or it was not HTTP: look whether the server crashed.",
  urlRefused: () => "The URL breaks today's rules for URLs: change it to a public https address.",
  internal: () => "The fault is this service's, not your endpoint's: there is nothing that you have to do.",
};

/**
 * Why an attempt failed and what to do. Empty where it succeeded.
 *
 * @param {import("./types.js").Attempt} attempt
 */
export function whyItFailed(attempt) {
  if (attempt.error === null) return "";
  if (attempt.error !== "httpStatus") {
    return ERRORS[attempt.error]?.(attempt) ?? "It failed for a reason that this page does not know.";
  }
  const status = attempt.httpStatusCode ?? 0;
  return `The endpoint returned ${status}: ${STATUSES[status] ?? ofClass(status)}`;
}

/** @param {number} status */
function ofClass(status) {
  if (status < 300) return "that is no status from 200 to 299.";
  if (status < 400) return "redirects are not followed; give the webhook the URL that it leads to.";
  if (status < 500) return "it refuses the request; look into its log at this time.";
  return "it failed; look into its log at this time.";
}

/** @param {string} url */
function host(url) {
  try {
    return new URL(url).hostname;
  } catch {
    return url;
  }
}

/** Every name that has words here, for the test that compares them with the API's. */
export const KNOWN_ERRORS = [...Object.keys(ERRORS), "httpStatus"];
