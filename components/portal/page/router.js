// Which screen is shown: by the fragment, so that "back", bookmarks of the day and links work.

import { signal } from "./vendor/signals.js";

/** @typedef {{path: string[], query: URLSearchParams}} Route */

/** @type {import("./vendor/signals.js").Signal<Route>} */
export const route = signal(read());

/** @returns {Route} */
function read() {
  // The code of a link is no address, and session.js takes it away.
  const [path, query] = location.hash.replace(/^#(code=.*|\/?)/, "").split("?");
  return { path: path.split("/").filter(Boolean).map(decode), query: new URLSearchParams(query) };
}

/** @param {string} part */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a screen. @param {string[]} path @param {Record<string, string | undefined>} [query] */
export function to(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  const search = new URLSearchParams(/** @type {[string, string][]} */ (given)).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${search && `?${search}`}`;
}

/** Goes to a screen. @param {string} address @param {{replace?: boolean}} [options] */
export function go(address, { replace = false } = {}) {
  if (!replace) {
    location.hash = address;
    return;
  }
  history.replaceState(null, "", address);
  route.value = read();
}

/** Follows the fragment from now on. */
export function follow() {
  route.value = read();
  addEventListener("hashchange", () => (route.value = read()));
}
