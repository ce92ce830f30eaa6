// The deliveries of a webhook, with filters that are part of the address.

import { html } from "../html.js";
import { eventTypeNames, get } from "../api.js";
import { usePages, Pages } from "../parts/pages.js";
import { useLoad } from "../parts/load.js";
import { Countdown, Moment } from "../parts/moment.js";
import { Status } from "../parts/status.js";
import { Empty } from "../parts/title.js";
import { go, to } from "../router.js";
import { now } from "../time.js";
import { ATTEMPT_ERRORS, DELIVERY_STATUSES, count } from "../words.js";
import { SINCE, Select, after } from "./filters.js";

/** @param {{webhookId: string, query: URLSearchParams, turn: number}} props */
export function Deliveries({ webhookId, query, turn }) {
  const filter = { status: query.get("status") ?? "", type: query.get("type") ?? "", since: query.get("since") ?? "" };
  const path = `/webhooks/${encodeURIComponent(webhookId)}/deliveries`;
  const pages = usePages(
    (cursor) =>
      get(path, { status: filter.status, type: filter.type, after: after(filter.since), limit: 20, cursor }).then(({ value }) => value),
    `${path} ${JSON.stringify(filter)}`,
    turn,
  );
  const { value: types = [] } = useLoad(eventTypeNames, "names of types");
  const isFiltered = Boolean(filter.status || filter.type || filter.since);
  /** @param {Record<string, string>} change */
  const choose = (change) => go(to(["webhooks", webhookId], { ...Object.fromEntries(query), ...change }), { replace: true });
  return html`<section aria-labelledby="deliveries">
    <div class="title">
      <h2 id="deliveries">Deliveries</h2>
      <div class="filters">
        <${Select} label="Status" value=${filter.status} onChoose=${(/** @type {string} */ status) => choose({ status })}
          options=${[["", "Any status"], ...Object.entries(DELIVERY_STATUSES).map(([name, { word }]) => [name, word])]} />
        <${Select} label="Event type" value=${filter.type} onChoose=${(/** @type {string} */ type) => choose({ type })}
          options=${[["", "Any type"], ...types.map((type) => [type, type])]} />
        <${Select} label="Time" value=${filter.since} onChoose=${(/** @type {string} */ since) => choose({ since })} options=${SINCE} />
      </div>
    </div>
    <${Pages} pages=${pages} row=${(/** @type {any} */ delivery) => html`<${Row} key=${delivery.eventId} delivery=${delivery} />`}>
      ${isFiltered
        ? html`<${Empty} title="No such delivery"><p>Take a filter away, or look further back in time.</p><//>`
        : html`<${Empty} title="No delivery yet">
            <p>Send a test to see whether your server is reached. Deliveries stand here once the platform has published an event that this webhook gets.</p>
          <//>`}
    <//>
  </section>`;
}

/** @param {{delivery: import("../types.js").Delivery}} props */
function Row({ delivery }) {
  const { word, tone } = DELIVERY_STATUSES[delivery.status];
  return html`<li class="row delivery">
    <div class="state"><${Status} tone=${tone} word=${word} /></div>
    <div class="what">
      <a href=${to(["webhooks", delivery.webhookId, "deliveries", delivery.eventId])}><code>${delivery.type}</code></a>
      <span class="quiet small id">${delivery.eventId}</span>
    </div>
    <p class="outcome">${outcome(delivery)}</p>
    <p class="when"><${Moment} time=${delivery.createdAt} /></p>
  </li>`;
}

/** What came of it, short. @param {import("../types.js").Delivery} delivery */
export function outcome(delivery) {
  const { lastAttempt: last, attemptCount, nextAttemptAt } = delivery;
  const attempts = attemptCount > 1 ? `, ${count(attemptCount, "attempt")}` : "";
  const returned = !last ? "" : last.httpStatusCode ? `returned ${last.httpStatusCode}` : (ATTEMPT_ERRORS[last.error ?? ""] ?? "").toLowerCase();
  if (delivery.status === "pending") {
    const isDue = !nextAttemptAt || Date.parse(nextAttemptAt) <= now.value;
    return html`${returned}${attempts}${returned && " · "}${isDue ? "next now" : html`next <${Countdown} time=${nextAttemptAt} />`}`;
  }
  return `${returned}${attempts}`;
}
