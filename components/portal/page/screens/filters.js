// Filters of logs: by a choice of a few, and by how far back.

import { html } from "../html.js";
import { DAY, HOUR, current, rfc3339 } from "../time.js";

/** How far back. @type {[string, string][]} */
export const SINCE = [
  ["", "Any time"],
  ["1h", "Last hour"],
  ["24h", "Last 24 hours"],
  ["7d", "Last 7 days"],
  ["30d", "Last 30 days"],
];

/** @type {Record<string, number>} */
const SPANS = { "1h": HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY };

/** The API's `after` of a choice. @param {string} since */
export const after = (since) => (SPANS[since] ? rfc3339(current() - SPANS[since]) : undefined);

/** @param {{label: string, value: string, options: string[][], onChoose: (value: string) => void}} props */
export const Select = ({ label, value, options, onChoose }) => html`<select
  aria-label=${label}
  value=${value}
  onChange=${(/** @type {any} */ event) => onChoose(event.currentTarget.value)}
>
  ${options.map(([name, words]) => html`<option key=${name} value=${name} selected=${name === value}>${words}</option>`)}
</select>`;
