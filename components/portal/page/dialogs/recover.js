// What failed, was suppressed or is missing of a time, delivered anew. First it is counted.

import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { signal } from "../vendor/signals.js";
import { html } from "../html.js";
import { get, newKey, send } from "../api.js";
import { announce } from "../parts/announce.js";
import { Button } from "../parts/button.js";
import { Dialog } from "../parts/dialog.js";
import { Choice, Field, Form, Group, general } from "../parts/form.js";
import { Failure, useAction, useLoad } from "../parts/load.js";
import { DAY, HOUR, current, duration, local, rfc3339, zone } from "../time.js";
import { RECOVERY_STATUSES, SKIPPED, STOP_REASONS, count } from "../words.js";

/** The recoveries that this page has seen, by webhook: the API has no list of them.
 * @type {import("../vendor/signals.js").Signal<Record<string, string>>} */
export const recoveries = signal({});

/** @param {string} webhookId @param {string} [id] */
const remember = (webhookId, id) => {
  const { [webhookId]: _, ...others } = recoveries.value;
  recoveries.value = id ? { ...others, [webhookId]: id } : others;
};

const KINDS = [
  { name: "failed", words: "Failed", hint: "Every attempt was refused or found nobody." },
  { name: "suppressed", words: "Suppressed", hint: "The webhook or the application was switched off." },
  { name: "missing", words: "Missing", hint: "Events from before the webhook got their type, or was there." },
];

/**
 * @param {{webhook: import("../types.js").Webhook, failingSince: string | null, onClose: () => void}} props
 */
export function Recover({ webhook, failingSince, onClose }) {
  const [opened] = useState(current);
  const windows = [
    ...(failingSince ? [{ name: "Since it began to fail", from: Date.parse(failingSince) - HOUR }] : []),
    { name: "The last hour", from: opened - HOUR },
    { name: "The last day", from: opened - DAY },
    { name: "The last week", from: opened - 7 * DAY },
  ];
  const [from, setFrom] = useState(failingSince ? windows[0].from : opened - DAY);
  const [isOwn, setOwn] = useState(false);
  const [include, setInclude] = useState(["failed", "suppressed"]);
  const [perMinute, setPerMinute] = useState("600");
  const body = { after: rfc3339(from), include, perMinute: Number(perMinute) };
  const of = JSON.stringify({ after: body.after, include });
  const key = useRef({ of: "", key: "" });
  const counted = useLoad(
    () => send("POST", `/webhooks/${webhook.id}/recoveries`, { body: { ...body, perMinute: undefined, dryRun: true } }).then(({ value }) => value.matched),
    include.length > 0 && !Number.isNaN(from) ? of : "",
  );
  const matched = counted.value;
  const begin = useAction(async () => {
    const wanted = JSON.stringify(body);
    if (key.current.of !== wanted) key.current = { of: wanted, key: newKey() };
    const { value } = await send("POST", `/webhooks/${webhook.id}/recoveries`, { body, idempotencyKey: key.current.key });
    remember(webhook.id, value.id);
    announce(`${count(matched ?? 0, "delivery is", "deliveries are")} being sent again.`);
    onClose();
  });
  // Another one is under way: its progress is what the reader wants to see.
  const failed = counted.error ?? begin.error;
  const other = failed?.reason === "recoveryActive" ? /\S+$/.exec(failed.message)?.[0] : undefined;
  useEffect(() => {
    if (other) remember(webhook.id, other);
  }, [other]);
  const blocked =
    include.length === 0
      ? "Choose at least one kind."
      : matched === undefined
        ? counted.error
          ? "It could not be counted."
          : "It is being counted."
        : matched === 0 && "There is nothing to send again.";
  return html`<${Dialog} title="Recover deliveries" onClose=${onClose}>
    <${Form} onSubmit=${begin.run} error=${begin.error}>
      <p>What the webhook did not get is sent again, each with the schedule of a new delivery. Receivers know repeats by their webhook-id.</p>
      <${Group} label="Events of" error=${failed?.of?.("after")}>
        ${windows.map(
          (one) =>
            html`<${Choice} key=${one.name} type="radio" name="window" value=${one.name} isChosen=${!isOwn && from === one.from}
              onChoose=${() => { setOwn(false); setFrom(one.from); }}>${one.name}<//>`,
        )}
        <${Choice} type="radio" name="window" value="own" isChosen=${isOwn} onChoose=${() => setOwn(true)}>Since a moment of your choice<//>
        ${isOwn &&
        html`<input
          type="datetime-local"
          aria-label=${`Since, in ${zone()}`}
          value=${local(from)}
          max=${local(opened)}
          onInput=${(/** @type {any} */ event) => event.currentTarget.value && setFrom(new Date(event.currentTarget.value).getTime())}
        />`}
      <//>
      <${Group} label="Deliveries that are" error=${failed?.of?.("include")}>
        ${KINDS.map(
          ({ name, words, hint }) =>
            html`<${Choice} key=${name} type="checkbox" name="include" value=${name} hint=${hint} isChosen=${include.includes(name)}
              onChoose=${(/** @type {boolean} */ isChosen) =>
                setInclude(KINDS.map((kind) => kind.name).filter((one) => (one === name ? isChosen : include.includes(one))))}
              >${words}<//>`,
        )}
      <//>
      <${Field} label="Pace, in deliveries a minute" error=${failed?.of?.("perMinute")} hint="From 1 to 60,000. Your endpoint should keep up with it.">
        ${(/** @type {any} */ control) =>
          html`<input ...${control} type="number" name="perMinute" min="1" max="60000" value=${perMinute}
            onInput=${(/** @type {any} */ event) => setPerMinute(event.currentTarget.value)} />`}
      <//>
      <p role="status" class="consequence">${countWords(include, matched, Number(perMinute))}</p>
      <${Failure} error=${general(failed, ["after", "include", "perMinute"])} />
      <div class="buttons end">
        <${Button} onClick=${onClose}>Cancel<//>
        <${Button} kind="main" type="submit" busy=${begin.busy} blocked=${blocked}>
          ${matched ? `Recover ${count(matched, "delivery", "deliveries")}` : "Recover"}
        <//>
      </div>
    <//>
  <//>`;
}

/** @param {string[]} include @param {number | undefined} matched @param {number} perMinute */
function countWords(include, matched, perMinute) {
  if (include.length === 0 || matched === undefined) return "";
  if (matched === 0) return "Nothing of this time matches: there is nothing to send again.";
  const takes = perMinute > 0 ? `, which takes about ${duration(Math.max(1, Math.ceil(matched / perMinute)) * 60_000)}` : "";
  return `${count(matched, "delivery matches", "deliveries match")} now${takes}.`;
}

/** How far the webhook's recovery is. @param {{webhookId: string, onMoved: () => void}} props */
export function RecoveryProgress({ webhookId, onMoved }) {
  const id = recoveries.value[webhookId];
  const path = `/webhooks/${webhookId}/recoveries/${id}`;
  const [every, setEvery] = useState(/** @type {number | undefined} */ (1000));
  const { value, error, set } = useLoad(() => get(path).then((got) => got.value), id ? path : "", { every });
  const stop = useAction(async () => set((await send("DELETE", path)).value));
  const hasEnded = value?.status === "done" || value?.status === "stopped";
  useEffect(() => {
    if (hasEnded) announce(`The recovery is ${RECOVERY_STATUSES[value.status]}.`, value.status === "done" ? "good" : "none");
  }, [id, hasEnded]);
  useEffect(() => {
    setEvery(hasEnded ? undefined : 1000);
    if (value) onMoved();
  }, [id, hasEnded, value?.queued]);
  if (!id || (!value && !error)) return null;
  if (!value) return html`<${Failure} error=${error} />`;
  const skipped = Object.entries(value.skippedByReason).filter(([, number]) => Number(number) > 0);
  return html`<section class="panel" aria-labelledby="recovery">
    <div class="title">
      <h2 id="recovery">Recovery: ${RECOVERY_STATUSES[value.status]}</h2>
      <div class="buttons">
        ${hasEnded
          ? html`<${Button} kind="quiet" onClick=${() => remember(webhookId)}>Close<//>`
          : html`<${Button} busy=${stop.busy} onClick=${() => stop.run()}>Stop it<//>`}
      </div>
    </div>
    <progress max=${value.matched || 1} value=${value.matched === null ? undefined : value.queued + value.skipped} aria-labelledby="recovery"></progress>
    <p>
      ${value.matched === null ? "It is being looked up what matches." : `${value.queued.toLocaleString()} of ${count(value.matched, "delivery", "deliveries")} queued`}
      ${skipped.map(([reason, number]) => `, ${Number(number).toLocaleString()} ${SKIPPED[reason] ?? reason}`).join("")}.
      ${value.reason && ` ${STOP_REASONS[value.reason] ?? value.reason}`}
    </p>
    <${Failure} error=${stop.error} />
  </section>`;
}
