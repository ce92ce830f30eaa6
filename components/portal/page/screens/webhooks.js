// Screen 1: the application's webhooks, each with how it has been doing for a day.

import { useEffect, useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { get, webhooks } from "../api.js";
import { Bar, summaryWords } from "../parts/bar.js";
import { Button, Missing } from "../parts/button.js";
import { later, loadTheRest } from "../parts/later.js";
import { Failure, Waiting, useLoad } from "../parts/load.js";
import { Ago, Moment } from "../parts/moment.js";
import { Status } from "../parts/status.js";
import { Empty, Title } from "../parts/title.js";
import { to } from "../router.js";
import { now } from "../time.js";
import { DISABLED_REASONS, WEBHOOK_STATES, count, eventWords } from "../words.js";

const CreateWebhook = later(() => import("../dialogs/create.js"), "CreateWebhook");

/** How often the list is asked for again, in milliseconds. */
const EVERY = 15_000;

export function Webhooks() {
  const { value, error, reload } = useLoad(webhooks, "webhooks", { every: EVERY });
  const [isCreating, setCreating] = useState(false);
  const create = html`<${Button} kind="main" icon="plus" needs="manageWebhooks" onClick=${() => setCreating(true)}
    >Add a webhook<//
  >`;
  const isEmpty = value?.length === 0;
  useEffect(() => {
    if (value) loadTheRest();
  }, [Boolean(value)]);
  return html`<${Title} title="Webhooks" beside=${!isEmpty && create} />
    <${Missing} needs=${["manageWebhooks"]} />
    <${Failure} error=${error} retry=${reload} />
    ${!value && !error && html`<${Waiting} />`}
    ${isEmpty &&
    html`<${Empty} title="No webhook yet">
      <p>
        A webhook is an https address of your server. Events are sent there, signed, and sent again for days if it is
        down.
      </p>
      <ol>
        <li>Take a receiver from <a href=${to(["event-types"], { show: "receivers" })}>Event types</a>, or write one.</li>
        <li>Add its address here, and keep the secret that you are shown.</li>
        <li>Send a test, and see what your server returns.</li>
      </ol>
      ${create}
    <//>`}
    ${value &&
    value.length > 0 &&
    html`<ul class="rows">
      ${value.map((webhook) => html`<${Row} key=${webhook.id} webhook=${webhook} />`)}
    </ul>`}
    ${isCreating && html`<${CreateWebhook} onClose=${() => setCreating(false)} onCreated=${reload} />`}`;
}

/** @param {{webhook: import("../types.js").Webhook}} props */
function Row({ webhook }) {
  const key = `${webhook.id} ${webhook.isActive} ${webhook.updatedAt}`;
  const load = () => get(`/webhooks/${webhook.id}/health`).then(({ value }) => value);
  const { value: health } = useLoad(load, key, { every: EVERY });
  return html`<li class="row webhook">
    <div class="what">
      <h2><a href=${to(["webhooks", webhook.id])} class="address">${webhook.url}</a></h2>
      <p class="quiet">${eventWords(webhook.subscribedEvents)}</p>
      ${health?.disabledReason && html`<p class="reason">${DISABLED_REASONS[health.disabledReason]}</p>`}
      ${health?.state === "failing" && html`<p class="reason"><${Failing} health=${health} /></p>`}
    </div>
    <div class="state">${health ? html`<${StateOf} health=${health} />` : html`<${StateWithout} webhook=${webhook} />`}</div>
    <div class="day">${health && html`<${Day} health=${health} />`}</div>
  </li>`;
}

/** @param {{health: import("../types.js").Health}} props */
export function StateOf({ health }) {
  const { word, tone, meaning } = WEBHOOK_STATES[health.state];
  return html`<${Status} tone=${health.state === "inactive" ? "pause" : tone} word=${word} title=${meaning} />`;
}

/** What is known until the health is there. @param {{webhook: import("../types.js").Webhook}} props */
function StateWithout({ webhook }) {
  if (webhook.isActive) return null;
  return html`<${StateOf} health=${/** @type {any} */ ({ state: webhook.disabledReason ? "disabled" : "inactive" })} />`;
}

/** Since when it fails, and what comes of that. @param {{health: import("../types.js").Health}} props */
export const Failing = ({ health }) => html`Nothing has been accepted since ${" "}
  <${Moment} time=${health.failingSince} /> (${count(health.failedAttempts, "attempt")} failed).
  ${health.willBeDisabledAt &&
  html`${" "}If that goes on, it is disabled on ${" "}<strong><${Moment} time=${health.willBeDisabledAt} /></strong>.`}`;

/** The last day as a bar, and in words. @param {{health: import("../types.js").Health}} props */
function Day({ health }) {
  const words = summaryWords(health.deliveries.byStatus);
  const { count: pending, oldestDueAt } = health.pending;
  return html`<p class="figures">
      <span class="hidden">Last 24 hours: </span>${words || "Nothing in the last 24 hours"}
    </p>
    ${words && html`<${Bar} summary=${health.deliveries.byStatus} />`}
    <p class="quiet small">
      ${words && "Last 24 hours"}${words && pending > 0 && " · "}
      ${pending > 0 && html`${count(pending, "delivery", "deliveries")} waiting`}
      ${pending > 0 && oldestDueAt && Date.parse(oldestDueAt) < now.value - 60_000 && html`, due <${Ago} time=${oldestDueAt} />`}
    </p>`;
}
