// Deliveries by status as a bar. The words beside it say the same; the bar is for who looks quickly.

import { html } from "../html.js";
import { DELIVERY_STATUSES } from "../words.js";

/** @type {import("../types.js").DeliveryStatus[]} */
const ORDER = ["succeeded", "pending", "failed", "suppressed", "expired"];

/** What a summary says, in words. @param {import("../types.js").Summary} summary */
export function summaryWords(summary) {
  const parts = ORDER.filter((status) => summary[status] > 0).map(
    (status) => `${summary[status].toLocaleString()} ${DELIVERY_STATUSES[status].word.toLowerCase()}`,
  );
  return parts.join(", ");
}

/** @param {{summary: import("../types.js").Summary}} props */
export const Bar = ({ summary }) => html`<div class="bar" aria-hidden="true">
  ${ORDER.filter((status) => summary[status] > 0).map(
    (status) => html`<span key=${status} class=${status} style=${{ flexGrow: summary[status] }}></span>`,
  )}
</div>`;
