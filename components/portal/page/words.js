// What the API's names mean, in words for a merchant: states, and why something is so.

/** @typedef {"good" | "bad" | "warn" | "wait" | "off" | "none"} Tone */

/** The state of a webhook. @type {Record<string, {word: string, tone: Tone, meaning: string}>} */
export const WEBHOOK_STATES = {
  healthy: { word: "Healthy", tone: "good", meaning: "The last attempts succeeded." },
  failing: { word: "Failing", tone: "bad", meaning: "The last attempts failed." },
  disabled: { word: "Disabled", tone: "off", meaning: "The service stopped delivering to it." },
  inactive: { word: "Paused", tone: "wait", meaning: "Nothing is delivered until it is resumed." },
  idle: { word: "Idle", tone: "none", meaning: "Nothing was sent to it in this time." },
};

/** The status of a delivery. @type {Record<string, {word: string, tone: Tone}>} */
export const DELIVERY_STATUSES = {
  pending: { word: "Pending", tone: "wait" },
  succeeded: { word: "Delivered", tone: "good" },
  failed: { word: "Failed", tone: "bad" },
  suppressed: { word: "Suppressed", tone: "off" },
  expired: { word: "Expired", tone: "none" },
};

/** How an attempt ended. @param {{error: string | null}} attempt @returns {{word: string, tone: Tone}} */
export const attemptState = (attempt) =>
  attempt.error === null ? { word: "Accepted", tone: "good" } : { word: "Failed", tone: "bad" };

/** Why the service made a webhook inactive, and what to do. @type {Record<string, string>} */
export const DISABLED_REASONS = {
  failing:
    "No delivery succeeded for as long as the service waits, so it stopped. Repair the endpoint, send a test, " +
    "then resume and recover what was missed.",
  gone:
    "Its endpoint returned 410 Gone twice, which means that nobody is there any more. If somebody is, change " +
    "what it returns, then resume and recover what was missed.",
};

/** Why a delivery has its status, and what to do. @type {Record<string, string>} */
export const DELIVERY_REASONS = {
  exhausted: "Every attempt of the schedule failed, so no more are made. Repair the endpoint, then resend it.",
  gone: "The endpoint returned 410 Gone twice, so no more attempts are made.",
  webhookInactive: "The webhook was paused or disabled. Resume it, then resend this or recover all that it missed.",
  applicationDisabled: "The application was disabled. Once it is enabled, resend this or recover all that was missed.",
  webhookDeleted: "The webhook was deleted: nothing can be sent to it any more.",
  dataErased: "The event's data were erased: there is nothing left to send.",
};

/** What an expired delivery means. */
export const EXPIRED = "The event was worth delivering only until a moment that has passed.";

/** Why an attempt was made. @type {Record<string, string>} */
export const TRIGGERS = {
  schedule: "by the schedule",
  resend: "by a resend",
  recovery: "by a recovery",
  uncertain: "again, since the one before has no record: it may have arrived",
};

/** Why an attempt failed, short. @type {Record<string, string>} */
export const ATTEMPT_ERRORS = {
  blockedAddress: "Private address",
  dns: "Name not found",
  connect: "No connection",
  tls: "No TLS",
  timeout: "Timed out",
  protocol: "Connection ended",
  httpStatus: "Refused by the endpoint",
  urlRefused: "URL not allowed",
  internal: "Fault of the service",
};

/** Why the service refuses what was asked, where its own message can say more. @type {Record<string, string>} */
const ERROR_REASONS = {
  applicationDisabled: "The application is disabled: the platform has to enable it first.",
  attemptInFlight: "An attempt is under way just now. Look at what comes of it, then send it again if needed.",
  webhookInactive: "The webhook is paused or disabled. Resume it first.",
  webhookDeleted: "The webhook was deleted: nothing can be sent to it any more.",
  dataErased: "The event's data were erased: there is nothing left to send.",
  recoveryActive: "Another recovery of this webhook is under way. Wait until it is done, or stop it.",
  idempotencyKeyReused: "The same request was made before with other values. Close this and begin again.",
  secretReplaced: "Another rotation came after this one. Rotate again if nobody has the newest secret.",
  preconditionFailed: "Somebody else changed it meanwhile.",
  tooManyChanges: "Too many changes within a minute.",
  missingCapability: "The link that opened this page does not allow this.",
};

/** An error in one sentence or two. @param {import("./api.js").ApiError} error */
export function sentence(error) {
  if (error.status === 404) return "It is not there any more, or never was.";
  if (error.status >= 500 && error.status !== 503) {
    const id = error.requestId ? ` If it stays, the platform's support finds it by ${error.requestId}.` : "";
    return `The service could not do it just now. Try again.${id}`;
  }
  const said = (error.reason && ERROR_REASONS[error.reason]) ?? error.message;
  const wait = error.retryAfterSeconds ? ` Try again in ${error.retryAfterSeconds} s.` : "";
  return `${said}${wait}`;
}

/** What each reason of the signature check means, and what to do. @type {Record<string, {title: string, advice: string}>} */
export const SIGNATURE_REASONS = {
  headerMissing: {
    title: "A header is missing",
    advice:
      "webhook-id, webhook-timestamp and webhook-signature are all needed. A proxy or your framework drops one, " +
      "or it is looked up by another name.",
  },
  malformedTimestamp: {
    title: "The timestamp is no number",
    advice: "webhook-timestamp is whole seconds since 1970. Something rewrites it, or the request is none of ours.",
  },
  malformedSignature: {
    title: "The signature is not written as ours are",
    advice: "webhook-signature holds `v1,` and 44 characters of base64. Something rewrites or cuts it.",
  },
  timestampOutsideTolerance: {
    title: "The timestamp is more than five minutes off",
    advice:
      "Set your server's clock, or verify before the request waits in a queue. For a request that is older, say " +
      "below when it was received.",
  },
  bodyReserialized: {
    title: "The body was parsed and written again",
    advice:
      "It says the same, but its bytes differ from those that were signed. Verify the raw body, before any " +
      "framework parses it.",
  },
  bodyChanged: {
    title: "The body is not the event's",
    advice: "Something on the way changes it, or it was read in another character set than UTF-8.",
  },
  secretExpired: {
    title: "The secret had ended when this was received",
    advice: "A rotation ended it. Put the newest secret into use; if nobody has it, rotate again.",
  },
  otherWebhook: {
    title: "The event was not sent to this webhook",
    advice: "Choose the webhook that your receiver has the secret of: each has its own.",
  },
  eventUnknown: {
    title: "There is no such event",
    advice: "No event of this application has this webhook-id: it is older than events are kept, or it is a forgery.",
  },
  unknownSecret: {
    title: "No secret of this webhook signed it",
    advice:
      "The body is the event's own. It was signed by another webhook's secret or by one that was dropped, a header " +
      "was changed, or it is a forgery.",
  },
  signatureMismatch: {
    title: "No secret of this webhook signed it",
    advice:
      "There is no event to compare the body with, as with a test. Either the body's bytes differ, the webhook is " +
      "another, or it is a forgery.",
  },
};

/** How far a recovery is. @type {Record<string, string>} */
export const RECOVERY_STATUSES = { matching: "counting", running: "under way", done: "done", stopped: "stopped" };

/** Why a recovery was stopped. @type {Record<string, string>} */
export const STOP_REASONS = {
  requested: "Somebody stopped it.",
  webhookInactive: "It stopped when the webhook was paused or disabled. Resume it, then recover the rest.",
  applicationDisabled: "It stopped when the application was disabled.",
  webhookDeleted: "It stopped when the webhook was deleted.",
};

/** Why a recovery passed deliveries over. @type {Record<string, string>} */
export const SKIPPED = {
  succeeded: "delivered meanwhile",
  pending: "pending already",
  expired: "expired meanwhile",
  dataErased: "erased meanwhile",
  eventDeleted: "older than events are kept",
  stopped: "left, since it was stopped",
};

/** What a capability allows. @type {Record<import("./types.js").Capability, string>} */
export const CAPABILITIES = {
  view: "seeing webhooks and deliveries",
  viewPayloads: "seeing what events and answers hold",
  resend: "sending again",
  manageWebhooks: "changing webhooks",
  rotateSecrets: "new secrets",
};

/** `1 delivery`, `1,250 deliveries`. @param {number} number @param {string} one @param {string} [many] */
export const count = (number, one, many = `${one}s`) =>
  `${number.toLocaleString()} ${number === 1 ? one : many}`;

/** `a, b and c`. @param {string[]} parts */
export const list = (parts) =>
  parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;

/** What a webhook is subscribed to. @param {string[]} events */
export const eventWords = (events) => (events.includes("*") ? "Every event" : list(events));
