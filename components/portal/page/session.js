// The session: a code out of the link, exchanged for a token that is in this page's memory and nowhere else.

import { computed, signal } from "./vendor/signals-core.js";
import { current, synchronize } from "./time.js";

/** The address of what the service serves, wherever a proxy puts it. @param {string} path such as `/api/v1/event-types` */
export const at = (path) => new URL(`..${path}`, import.meta.url).pathname;

/** What happened to the link: see screens/ended.js for what is shown of each.
 * @typedef {"opening" | "open" | "noLink" | "codeSpent" | "ended" | "reloaded" | "unreachable"} Phase */

/** @type {import("./vendor/signals-core.js").Signal<Phase>} */
export const phase = signal("opening");

/** @type {import("./vendor/signals-core.js").Signal<import("./types.js").Session | null>} */
export const session = signal(null);

/** Who the platform is. @type {import("./vendor/signals-core.js").Signal<import("./types.js").Config>} */
export const config = signal({ name: "Webhooks", logoUrl: null, accent: null, refreshUrl: null });

/** Whether something is shown that must not vanish when the session ends: a secret that is shown once. */
export const isHeld = signal(false);

/** Whether the end of the session is to be shown. */
export const hasEnded = computed(() => !["opening", "open"].includes(phase.value) && !isHeld.value);

/** Whether the session allows something. @param {import("./types.js").Capability} capability */
export const can = (capability) => session.value?.capabilities.includes(capability) ?? false;

/** Ends the session here: the token is forgotten. @param {Phase} [why] */
export function end(why = "ended") {
  if (phase.value !== "open" && why === "ended") return;
  clearTimeout(timer);
  session.value = null;
  phase.value = why;
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/**
 * The code of the link, out of the fragment. It leaves the address bar and the history at once, before anything
 * else can see it.
 */
export function takeCode() {
  const match = /^#code=([^&]+)$/.exec(location.hash);
  if (!match) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return decodeURIComponent(match[1]);
}

/** Opens the session, with the code of the link. @param {string | null} code */
export async function open(code) {
  if (!code) {
    const [navigation] = performance.getEntriesByType("navigation");
    end(/** @type {any} */ (navigation)?.type === "reload" ? "reloaded" : "noLink");
    return;
  }
  phase.value = "opening";
  let response;
  try {
    response = await fetch(at("/api/v1/portal-sessions/exchange"), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ code }),
      cache: "no-store",
      credentials: "omit",
    });
  } catch {
    return end("unreachable");
  }
  // A code that is malformed is as good as one that was spent: the link does not open anything.
  if (response.status === 410 || response.status === 400) return end("codeSpent");
  if (!response.ok) return end("unreachable");
  synchronize(response.headers.get("date"));
  session.value = await response.json();
  phase.value = "open";
  watch();
}

/** Ends the session when its token does. */
function watch() {
  clearTimeout(timer);
  const left = Date.parse(session.value?.expiresAt ?? "") - current();
  // A timer of more than 24 days would end at once, and one of a machine that slept is late.
  timer = setTimeout(() => (left > 60_000 ? watch() : end()), Math.max(0, Math.min(left, 60_000)));
}

/** Reads who the platform is. The page works without. */
export async function readConfig() {
  try {
    const response = await fetch(at("/portal/config.json"), { credentials: "omit" });
    if (response.ok) config.value = { ...config.value, ...(await response.json()) };
  } catch {
    // It has no name and no logo then.
  }
}
