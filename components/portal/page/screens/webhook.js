// Screen 2: a webhook, how it is doing, what can be done with it, and its deliveries.

import { useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { get, send } from "../api.js";
import { EditWebhook } from "../dialogs/edit.js";
import { Recover, RecoveryProgress } from "../dialogs/recover.js";
import { RotateSecret } from "../dialogs/rotate.js";
import { announce } from "../parts/announce.js";
import { Button, Missing } from "../parts/button.js";
import { Confirm } from "../parts/dialog.js";
import { Failure, Waiting, useAction, useLoad } from "../parts/load.js";
import { Moment } from "../parts/moment.js";
import { Title } from "../parts/title.js";
import { go, to } from "../router.js";
import { DISABLED_REASONS, eventWords } from "../words.js";
import { Deliveries } from "./deliveries.js";
import { HealthOf, TestResult } from "./health.js";
import { Failing, StateOf } from "./webhooks.js";

/** How often what is shown is asked for again, in milliseconds. */
const EVERY = 10_000;

/** @param {{id: string, query: URLSearchParams}} props */
export function Webhook({ id, query }) {
  const path = `/webhooks/${encodeURIComponent(id)}`;
  const hours = ["24", "168", "720"].includes(query.get("hours") ?? "") ? Number(query.get("hours")) : 24;
  const webhook = useLoad(() => get(path), path, { every: EVERY });
  const health = useLoad(() => get(`${path}/health`, { hours }).then(({ value }) => value), `${path} ${hours}`, { every: EVERY });
  const [dialog, setDialog] = useState("");
  // The deliveries are asked for again when something was sent.
  const [turn, setTurn] = useState(0);
  const reload = async () => {
    setTurn((before) => before + 1);
    await Promise.all([webhook.reload(), health.reload()]);
  };
  const test = useAction(async () => {
    const { value } = await send("POST", `${path}/test`);
    announce(value.success ? "The test was accepted." : "The test was not accepted.", value.success ? "good" : "bad");
    reload();
    return value;
  });
  const [result, setResult] = useState(/** @type {any} */ (null));
  const activate = useAction(async (/** @type {boolean} */ isActive) => {
    await send("PATCH", path, { body: { isActive } });
    announce(isActive ? "Deliveries go on." : "The webhook is paused: nothing is delivered.");
    await reload();
  });

  const value = /** @type {import("../types.js").Webhook | undefined} */ (webhook.value?.value);
  const etag = webhook.value?.etag ?? "";
  const back = { href: to(["webhooks"]), name: "Webhooks" };
  if (!value) {
    return html`<${Title} title="Webhook" back=${back} />
      ${webhook.error ? html`<${Failure} error=${webhook.error} retry=${webhook.reload} />` : html`<${Waiting} />`}`;
  }
  const state = health.value;
  const close = () => setDialog("");
  const needs = "manageWebhooks";
  return html`<${Title} title=${value.url} back=${back} beside=${state && html`<${StateOf} health=${state} />`}
      ><span class="address">${value.url}</span><//
    >
    <div class="buttons">
      <${Button} kind="main" icon="send" needs=${needs} busy=${test.busy}
        onClick=${async () => { setResult(null); setResult((await test.run()) ?? null); }}>Send a test<//>
      ${value.isActive
        ? html`<${Button} icon="pause" needs=${needs} busy=${activate.busy} onClick=${() => activate.run(false)}>Pause<//>`
        : html`<${Button} icon="play" needs=${needs} busy=${activate.busy} onClick=${() => activate.run(true)}>Resume<//>`}
      <${Button} icon="edit" needs=${needs} onClick=${() => setDialog("edit")}>Edit<//>
      <${Button} icon="key" needs="rotateSecrets" onClick=${() => setDialog("rotate")}>Rotate secret<//>
      <${Button} icon="again" needs="resend" blocked=${!value.isActive && "Resume the webhook first."} onClick=${() => setDialog("recover")}>Recover<//>
      <${Button} icon="bin" kind="quiet" needs=${needs} onClick=${() => setDialog("delete")}>Delete<//>
    </div>
    <${Missing} needs=${["manageWebhooks", "rotateSecrets", "resend"]} />
    <${Failure} error=${test.error ?? activate.error ?? webhook.error} />
    ${result && html`<${TestResult} result=${result} onClose=${() => setResult(null)} />`}
    <${Notices} webhook=${value} health=${state} />
    <${RecoveryProgress} webhookId=${id} onMoved=${() => setTurn((before) => before + 1)} />
    <div class="columns">
      <section aria-labelledby="health" class="panel">
        <div class="title">
          <h2 id="health">Health</h2>
          <select
            aria-label="Time that the figures are of"
            value=${String(hours)}
            onChange=${(/** @type {any} */ event) => go(to(["webhooks", id], { ...Object.fromEntries(query), hours: event.currentTarget.value }), { replace: true })}
          >
            <option value="24">Last 24 hours</option>
            <option value="168">Last 7 days</option>
            <option value="720">Last 30 days</option>
          </select>
        </div>
        <${Failure} error=${health.error} retry=${health.reload} />
        ${state ? html`<${HealthOf} health=${state} />` : !health.error && html`<${Waiting} />`}
      </section>
      <section aria-labelledby="settings" class="panel">
        <div class="title"><h2 id="settings">Settings</h2></div>
        <${Facts} webhook=${value} />
      </section>
    </div>
    <${Deliveries} webhookId=${id} query=${query} turn=${turn} />
    ${dialog === "edit" && html`<${EditWebhook} webhook=${value} etag=${etag} onClose=${close} onChanged=${reload} />`}
    ${dialog === "rotate" && html`<${RotateSecret} webhook=${value} etag=${etag} onClose=${close} onRotated=${reload} />`}
    ${dialog === "recover" && html`<${Recover} webhook=${value} failingSince=${state?.failingSince ?? null} onClose=${close} />`}
    ${dialog === "delete" && html`<${Delete} webhook=${value} etag=${etag} onClose=${close} />`}`;
}

/** What somebody has to know first. @param {{webhook: import("../types.js").Webhook, health: import("../types.js").Health | undefined}} props */
function Notices({ webhook, health }) {
  if (webhook.disabledReason) {
    return html`<div class="notice bad">
      <p><strong>The service disabled it <${Moment} time=${webhook.disabledAt} />.</strong> ${DISABLED_REASONS[webhook.disabledReason]}</p>
    </div>`;
  }
  if (!webhook.isActive) {
    return html`<div class="notice">
      <p><strong>It is paused.</strong> Events of this time are kept as suppressed. After you resume it, recover them.</p>
    </div>`;
  }
  if (health?.state === "inactive") {
    return html`<div class="notice"><p><strong>The application is disabled</strong> by the platform, so nothing is delivered.</p></div>`;
  }
  if (health?.state === "failing") {
    return html`<div class="notice warn"><p><${Failing} health=${health} /></p></div>`;
  }
  return null;
}

/** @param {{webhook: import("../types.js").Webhook}} props */
const Facts = ({ webhook }) => html`<dl class="facts">
  <div><dt>Events</dt><dd>${eventWords(webhook.subscribedEvents)}</dd></div>
  <div>
    <dt>Secret</dt>
    <dd>
      <code>${webhook.keyFingerprint}</code>
      ${webhook.previousSecrets.map(
        ({ fingerprint, expiresAt }) =>
          html`<span class="line" key=${fingerprint}>beside it <code>${fingerprint}</code> until <${Moment} time=${expiresAt} /></span>`,
      )}
    </dd>
  </div>
  <div>
    <dt>Last test</dt>
    <dd>
      ${webhook.lastTestAt
        ? html`${webhook.lastTestStatus === "SUCCEEDED" ? "accepted" : "failed"} <${Moment} time=${webhook.lastTestAt} />`
        : "none yet"}
    </dd>
  </div>
  <div><dt>Added</dt><dd><${Moment} time=${webhook.createdAt} /></dd></div>
  <div><dt>Id</dt><dd><code>${webhook.id}</code></dd></div>
</dl>`;

/** @param {{webhook: import("../types.js").Webhook, etag: string, onClose: () => void}} props */
function Delete({ webhook, etag, onClose }) {
  const remove = async () => {
    await send("DELETE", `/webhooks/${webhook.id}`, { ifMatch: etag });
    announce("The webhook was deleted.");
    go(to(["webhooks"]));
  };
  return html`<${Confirm} title="Delete this webhook?" verb="Delete it" action=${remove} onClose=${onClose}>
    <p class="address">${webhook.url}</p>
    <p>Nothing is delivered to it any more, its secret is gone, and what waits is suppressed. It cannot be undone; to stop for a while, pause it.</p>
  <//>`;
}
