// The body of an event's deliveries, to the byte: what was signed is built of the event as the API returns it.

/**
 * The text of a member of a JSON object, as it is spelled there. Numbers such as `25.00` and the order of members
 * would not survive being parsed and written again. Null: there is none.
 *
 * @param {string} json an object
 * @param {string} name
 */
export function memberText(json, name) {
  let depth = 0;
  let at = 0;
  let key = null;
  let begin = -1;
  while (at < json.length) {
    const letter = json[at];
    if (letter === '"') {
      const end = stringEnd(json, at);
      if (depth === 1 && begin === -1) key = JSON.parse(json.slice(at, end));
      at = end;
      continue;
    }
    if (letter === ":" && depth === 1 && begin === -1 && key === name) begin = at + 1;
    if (letter === "," && depth === 1) {
      if (begin !== -1) return json.slice(begin, at).trim();
      key = null;
    }
    if (letter === "{" || letter === "[") depth += 1;
    if (letter === "}" || letter === "]") {
      depth -= 1;
      if (depth === 0) return begin === -1 ? null : json.slice(begin, at).trim();
    }
    at += 1;
  }
  return null;
}

/** Where the string ends that begins at `at`. @param {string} json @param {number} at */
function stringEnd(json, at) {
  for (let next = at + 1; next < json.length; next += 1) {
    if (json[next] === "\\") next += 1;
    else if (json[next] === '"') return next + 1;
  }
  return json.length;
}

/**
 * The body of the event's deliveries. Null: its data were erased, or the session may not see them.
 *
 * @param {import("./types.js").Event} event
 * @param {string} text the event as the API returned it
 */
export function deliveredBody(event, text) {
  if (!event.data) return null;
  const data = memberText(text, "data");
  return `{"type":${JSON.stringify(event.type)},"timestamp":${JSON.stringify(event.occurredAt)},"data":${data}}`;
}

/** JSON with a line for each member, its numbers and strings as they are spelled; other text as it is. @param {string} text */
export function pretty(text) {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  const lines = [""];
  let depth = 0;
  const line = () => lines.push("  ".repeat(depth));
  const add = (/** @type {string} */ part) => (lines[lines.length - 1] += part);
  for (let at = 0; at < text.length; ) {
    const end = text[at] === '"' ? stringEnd(text, at) : at + 1;
    const token = text.slice(at, end);
    at = end;
    if (token === "{" || token === "[") {
      add(token);
      const [, space, close] = /^(\s*)([}\]])?/.exec(text.slice(at)) ?? [];
      if (close) {
        add(close);
        at += space.length + 1;
      } else {
        depth += 1;
        line();
      }
    } else if (token === "}" || token === "]") {
      depth -= 1;
      line();
      add(token);
    } else if (token === ",") {
      add(token);
      line();
    } else if (token === ":") add(": ");
    else if (token.trim()) add(token);
  }
  return lines.join("\n");
}

/** Whether the text has this SHA-256. Null: the browser does not say, as without https. @param {string} text @param {string} sha256 */
export async function hasHash(text, sha256) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex === sha256;
}
