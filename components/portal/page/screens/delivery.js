// Screen 3: a delivery: its attempts on one line of time, why it failed and what to do, and what was sent.

import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { deliveryPolicy, get, send } from "../api.js";
import { deliveredBody, hasHash, pretty } from "../body.js";
import { curl } from "../curl.js";
import { whyItFailed } from "../failures.js";
import { announce } from "../parts/announce.js";
import { Button, Missing } from "../parts/button.js";
import { Block, Copy } from "../parts/copy.js";
import { Failure, Waiting, useAction, useLoad } from "../parts/load.js";
import { Countdown, Moment } from "../parts/moment.js";
import { Status } from "../parts/status.js";
import { Timeline } from "../parts/timeline.js";
import { Title } from "../parts/title.js";
import { plannedAttempts } from "../plan.js";
import { to } from "../router.js";
import { can } from "../session.js";
import { duration, moment, now } from "../time.js";
import { DELIVERY_REASONS, DELIVERY_STATUSES, EXPIRED, TRIGGERS, attemptState, count } from "../words.js";
import { Proof } from "./proof.js";

/** How often a delivery that waits is asked for, and one that is due or under way. In milliseconds. */
const EVERY = { waits: 10_000, due: 1000 };

/** @param {{webhookId: string, eventId: string}} props */
export function Delivery({ webhookId, eventId }) {
  const path = `/webhooks/${encodeURIComponent(webhookId)}/deliveries/${encodeURIComponent(eventId)}`;
  const [every, setEvery] = useState(/** @type {number | undefined} */ (undefined));
  const loaded = useLoad(() => get(path).then(({ value }) => value), path, { every });
  const event = useLoad(() => get(`/events/${encodeURIComponent(eventId)}`), `event ${eventId}`);
  const webhook = useLoad(() => get(`/webhooks/${encodeURIComponent(webhookId)}`).then(({ value }) => value), `webhook ${webhookId}`);
  const policy = useLoad(deliveryPolicy, "policy");
  // The status that the reader knows.
  const before = useRef(/** @type {string | undefined} */ (undefined));
  const resend = useAction(async () => {
    const { value } = await send("POST", `${path}/resend`);
    announce(value.error === null ? "The endpoint accepted it." : "The endpoint did not accept it.", value.error === null ? "good" : "bad");
    if (value.error === null) before.current = undefined;
    await loaded.reload();
  });
  const delivery = /** @type {import("../types.js").Delivery | undefined} */ (loaded.value);
  const isPending = delivery?.status === "pending";
  const isDue = isPending && (!delivery.nextAttemptAt || Date.parse(delivery.nextAttemptAt) <= now.value);
  useEffect(() => setEvery(isDue ? EVERY.due : isPending ? EVERY.waits : undefined), [isDue, isPending]);

  // What counts down is read aloud when it has come, and not each second.
  const status = delivery && DELIVERY_STATUSES[delivery.status].word;
  useEffect(() => {
    if (before.current && status && before.current !== status) announce(`Now: ${status.toLowerCase()}.`, "none");
    before.current = status;
  }, [status]);

  const back = { href: to(["webhooks", webhookId]), name: webhook.value?.url ?? "The webhook" };
  if (!delivery) {
    return html`<${Title} title="Delivery" back=${back} />
      ${loaded.error ? html`<${Failure} error=${loaded.error} retry=${loaded.reload} />` : html`<${Waiting} />`}`;
  }
  const { word, tone } = DELIVERY_STATUSES[delivery.status];
  const planned = plannedAttempts(delivery, policy.value?.retryScheduleSeconds ?? []);
  const isGone = webhook.error?.status === 404;
  const blocked = isGone ? "The webhook was deleted." : webhook.value && !webhook.value.isActive ? "Resume the webhook first." : "";
  return html`<${Title} title=${`${delivery.type}: ${word.toLowerCase()}`} back=${back} beside=${html`<${Status} tone=${tone} word=${word} />`}
      ><code>${delivery.type}</code><//
    >
    <p class="quiet">Event <a href=${to(["events", eventId])}><code class="id">${eventId}</code></a></p>
    <p class="lead">${story(delivery, isDue)}</p>
    <div class="buttons">
      <${Button} kind="main" icon="again" needs="resend" busy=${resend.busy} blocked=${blocked} onClick=${() => resend.run()}>Resend now<//>
      <${CopyCurl} delivery=${delivery} event=${event.value} webhook=${webhook.value} />
      <${Proof} path=${path} eventId=${eventId} />
    </div>
    <${Missing} needs=${["resend", "viewPayloads"]} />
    <${Failure} error=${resend.error ?? loaded.error} />
    <section aria-labelledby="attempts">
      <h2 id="attempts">Attempts</h2>
      <${Timeline} delivery=${delivery} planned=${planned} />
      <${Attempts} delivery=${delivery} planned=${planned} />
    </section>
    <${Sent} delivery=${delivery} event=${event} />`;
}

/** What became of it, and what to do, in a sentence or two. @param {import("../types.js").Delivery} delivery @param {boolean} isDue */
function story(delivery, isDue) {
  const last = delivery.lastAttempt;
  const why = last && whyItFailed(last);
  switch (delivery.status) {
    case "succeeded":
      // A resend that failed later changes nothing of it.
      return html`The endpoint accepted it${delivery.completedAt && html` <${Moment} time=${delivery.completedAt} />`}${delivery.attemptCount > 1 ? `, after ${count(delivery.attemptCount, "attempt")} in all` : ""}.`;
    case "pending":
      if (!last) return isDue ? "The first attempt is being made." : html`The first attempt is made <${Countdown} time=${delivery.nextAttemptAt} />.`;
      return html`${why}${" "}${isDue ? "The next attempt is being made." : html`The next attempt is made <strong><${Countdown} time=${delivery.nextAttemptAt} /></strong>.`}`;
    case "expired":
      return `${EXPIRED}${why ? ` The last attempt: ${why}` : ""}`;
    default:
      return `${why ? `${why} ` : ""}${DELIVERY_REASONS[delivery.reason ?? ""] ?? ""}`;
  }
}

/** @param {{delivery: import("../types.js").Delivery, planned: {number: number, at: number}[]}} props */
function Attempts({ delivery, planned }) {
  const attempts = delivery.attempts ?? [];
  const [next, ...later] = planned;
  const last = attempts.at(-1)?.number ?? 0;
  const recorded = new Map(attempts.map((attempt) => [attempt.number, attempt]));
  return html`<ol class="attempts">
    ${Array.from({ length: last }, (_, index) => {
      const attempt = recorded.get(index + 1);
      if (attempt) return html`<${Attempt} key=${index} attempt=${attempt} isLast=${attempt.number === last} />`;
      return html`<li class="attempt" key=${index}>
        <${Status} tone="none" word=${`Attempt ${index + 1}`} /><span>has no record: the service was cut off. It may have arrived.</span>
      </li>`;
    })}
    ${delivery.status === "pending" &&
    !next &&
    html`<li class="attempt"><${Status} tone="wait" word=${`Attempt ${last + 1}`} /><span>under way</span></li>`}
    ${next &&
    html`<li class="attempt planned">
      <${Status} tone="wait" word=${`Attempt ${next.number}`} />
      <span><${Moment} time=${new Date(next.at).toISOString()} />, <${Countdown} time=${new Date(next.at).toISOString()} due="being made" /></span>
    </li>`}
    ${later.length > 0 &&
    html`<li class="attempt planned">
      <${Status} tone="none" word=${later.length === 1 ? `Attempt ${later[0].number}` : `Attempts ${later[0].number} to ${later.at(-1)?.number}`} />
      <span>if those before fail, about ${later.map(({ at }) => moment(at)).join("; ")}. Given up <${Moment} time=${delivery.giveUpAt} /></span>
    </li>`}
    ${attempts.length === 0 && delivery.status !== "pending" && html`<li class="attempt"><${Status} tone="none" word="None" /><span>No attempt was made.</span></li>`}
  </ol>`;
}

/** @param {{attempt: import("../types.js").Attempt, isLast: boolean}} props */
function Attempt({ attempt, isLast }) {
  const { word, tone } = attemptState(attempt);
  const why = whyItFailed(attempt);
  const status = attempt.httpStatusCode ? `returned ${attempt.httpStatusCode} after ` : "after ";
  return html`<li class="attempt">
    <${Status} tone=${tone} word=${`Attempt ${attempt.number}`} />
    <details open=${isLast}>
      <summary>
        <${Moment} time=${attempt.startedAt} />: ${word.toLowerCase()}, ${status}${duration(attempt.durationMs)}
        <span class="quiet"> ${TRIGGERS[attempt.trigger] ?? attempt.trigger}</span>
      </summary>
      <div class="stack">
        ${why && html`<p>${why}</p>`}
        ${attempt.retryAfterSeconds !== null && html`<p>It asked to wait ${duration(attempt.retryAfterSeconds * 1000)} (<code>Retry-After</code>).</p>`}
        <p class="quiet small">To <span class="address">${attempt.url}</span>, signed with ${attempt.secretFingerprints.join(" and ")}</p>
        <${Answer} attempt=${attempt} />
      </div>
    </details>
  </li>`;
}

/** @param {{attempt: import("../types.js").Attempt}} props */
function Answer({ attempt }) {
  if (attempt.responseBody) {
    return html`<${Block} text=${attempt.responseBody} what="the answer" label=${`What the endpoint returned to attempt ${attempt.number}`} />
      ${attempt.responseBodyTruncated && html`<p class="quiet small">It was longer: this is its beginning.</p>`}`;
  }
  if (!attempt.httpStatusCode) return null;
  return html`<p class="quiet small">${can("viewPayloads") ? "Its answer had no body, or it was erased." : "This link does not show answers."}</p>`;
}

/** What was sent: headers and body. @param {{delivery: import("../types.js").Delivery, event: any}} props */
function Sent({ delivery, event }) {
  const [exact, setExact] = useState(/** @type {boolean | null} */ (null));
  const last = delivery.attempts?.at(-1);
  const body = event.value && deliveredBody(event.value.value, event.value.text);
  useEffect(() => {
    if (body) hasHash(body, event.value.value.sha256).then(setExact);
  }, [body]);
  const headers = [
    "content-type: application/json",
    `webhook-id: ${delivery.eventId}`,
    last && `webhook-timestamp: ${Math.floor(Date.parse(last.startedAt) / 1000)}`,
    last && `webhook-signature: ${last.secretFingerprints.map(() => "v1,…").join(" ")}`,
    last && `webhook-attempt: ${last.number}`,
  ].filter(Boolean);
  return html`<section aria-labelledby="sent">
    <h2 id="sent">What is sent</h2>
    <div class="stack">
      <${Block} text=${headers.join("\n")} what="the headers" label="Headers of the last attempt" />
      <p class="quiet small">
        ${last ? "Of the last attempt. " : ""}Signatures are not kept: each attempt has new ones, one for each secret that is live.
      </p>
      <${Failure} error=${event.error} retry=${event.reload} />
      ${body && html`<${Block} text=${pretty(body)} copied=${body} what="the body" label="Body" />`}
      ${body &&
      html`<p class="quiet small">
        ${count(event.value.value.sizeBytes, "byte")}, shown with a line for each member. “Copy” takes ${exact ? "the very bytes that are signed" : "it as it is sent"}.
      </p>`}
      ${event.value && !body && html`<p class="quiet">${can("viewPayloads") ? "The data of this event were erased." : "This link does not show what events hold."}</p>`}
    </div>
  </section>`;
}

/** @param {{delivery: import("../types.js").Delivery, event: any, webhook: import("../types.js").Webhook | undefined}} props */
function CopyCurl({ delivery, event, webhook }) {
  const body = event && deliveredBody(event.value, event.text);
  const url = webhook?.url ?? delivery.lastAttempt?.url;
  if (!body || !url) return null;
  return html`<${Copy} text=${curl({ url, id: delivery.eventId, body })} what="the request as a shell script">Copy as curl<//>`;
}
