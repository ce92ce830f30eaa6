// Headers as people paste them: out of a log, out of curl -v, or as JSON.

/**
 * Reads pasted headers. Lines that are none are ignored.
 *
 * @param {string} text
 * @returns {Record<string, string | string[]>}
 */
export function readHeaders(text) {
  try {
    const object = JSON.parse(text);
    if (object && typeof object === "object" && !Array.isArray(object)) return object;
  } catch {
    // Lines, then.
  }
  /** @type {Record<string, string[]>} */
  const headers = {};
  for (const line of text.split(/\r?\n/)) {
    // `> name: value` of curl -v, `"name": "value",` and `name = value` of logs.
    const match = /^[>\s"']*([\w-]+)["']?\s*[:=]\s*["']?(.*?)["']?,?\s*$/.exec(line);
    if (match) (headers[match[1].toLowerCase()] ??= []).push(match[2]);
  }
  return headers;
}
