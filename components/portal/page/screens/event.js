// An event: what it holds, and which webhooks got it.

import { html } from "../html.js";
import { get, webhooks } from "../api.js";
import { deliveredBody, pretty } from "../body.js";
import { Block } from "../parts/copy.js";
import { Failure, Waiting, useLoad } from "../parts/load.js";
import { Moment } from "../parts/moment.js";
import { Status } from "../parts/status.js";
import { Empty, Title } from "../parts/title.js";
import { to } from "../router.js";
import { can } from "../session.js";
import { DELIVERY_STATUSES, count } from "../words.js";
import { outcome } from "./deliveries.js";

/** @param {{id: string}} props */
export function Event({ id }) {
  const path = `/events/${encodeURIComponent(id)}`;
  const loaded = useLoad(() => get(path), path, { every: 5000 });
  const known = useLoad(webhooks, "webhooks");
  const back = { href: to(["events"]), name: "Events" };
  if (!loaded.value) {
    return html`<${Title} title="Event" back=${back} />
      ${loaded.error ? html`<${Failure} error=${loaded.error} retry=${loaded.reload} />` : html`<${Waiting} />`}`;
  }
  const event = /** @type {import("../types.js").Event} */ (loaded.value.value);
  const body = deliveredBody(event, loaded.value.text);
  const urls = new Map((known.value ?? []).map((webhook) => [webhook.id, webhook.url]));
  const deliveries = event.deliveries ?? [];
  return html`<${Title} title=${event.type} back=${back}><code>${event.type}</code><//>
    <dl class="facts">
      <div><dt>Id</dt><dd><code class="id">${event.id}</code></dd></div>
      <div><dt>Happened</dt><dd><${Moment} time=${event.occurredAt} /></dd></div>
      <div><dt>Published</dt><dd><${Moment} time=${event.createdAt} /></dd></div>
      ${event.deliverBefore && html`<div><dt>Delivered only until</dt><dd><${Moment} time=${event.deliverBefore} /></dd></div>`}
      <div><dt>Body</dt><dd>${count(event.sizeBytes, "byte")}, SHA-256 <code class="id">${event.sha256}</code></dd></div>
    </dl>
    <${Failure} error=${loaded.error} />
    <section aria-labelledby="got">
      <h2 id="got">Which webhooks got it</h2>
      ${deliveries.length === 0
        ? html`<${Empty} title="None">
            <p>No webhook was subscribed to <code>${event.type}</code> when it was published. Edit a webhook to get this type from now on, then recover what is missing.</p>
          <//>`
        : html`<ul class="rows">
            ${deliveries.map((delivery) => html`<${Row} key=${delivery.webhookId} delivery=${delivery} url=${urls.get(delivery.webhookId)} isKnown=${Boolean(known.value)} />`)}
          </ul>`}
    </section>
    <section aria-labelledby="data">
      <h2 id="data">What it holds</h2>
      ${body
        ? html`<${Block} text=${pretty(body)} copied=${body} what="the body" label="Body" />`
        : html`<p class="quiet">${can("viewPayloads") ? "The data of this event were erased." : "This link does not show what events hold."}</p>`}
    </section>`;
}

/** @param {{delivery: import("../types.js").Delivery, url: string | undefined, isKnown: boolean}} props */
function Row({ delivery, url, isKnown }) {
  const { word, tone } = DELIVERY_STATUSES[delivery.status];
  const name = url ?? delivery.lastAttempt?.url ?? (isKnown ? "A webhook that was deleted" : "…");
  return html`<li class="row delivery">
    <div class="state"><${Status} tone=${tone} word=${word} /></div>
    <div class="what"><a class="address" href=${to(["webhooks", delivery.webhookId, "deliveries", delivery.eventId])}>${name}</a></div>
    <p class="outcome">${outcome(delivery)}</p>
    <p class="when"><${Moment} time=${delivery.completedAt ?? delivery.createdAt} /></p>
  </li>`;
}
