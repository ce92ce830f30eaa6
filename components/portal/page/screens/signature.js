// Screen 6: why a receiver refuses what was sent: paste it, and see.

import { useEffect, useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { send, webhooks } from "../api.js";
import { readHeaders } from "../headers.js";
import { Button, Missing } from "../parts/button.js";
import { Field, Form, general } from "../parts/form.js";
import { Failure, Waiting, useAction, useLoad } from "../parts/load.js";
import { Status } from "../parts/status.js";
import { Empty, Title } from "../parts/title.js";
import { to } from "../router.js";
import { rfc3339, zone } from "../time.js";
import { SIGNATURE_REASONS } from "../words.js";

/** @param {{query: URLSearchParams}} props */
export function Signature({ query }) {
  const { value: all, error: failed, reload } = useLoad(webhooks, "webhooks");
  const [webhookId, setWebhookId] = useState(query.get("webhook") ?? "");
  const [headers, setHeaders] = useState("");
  const [body, setBody] = useState("");
  const [file, setFile] = useState(/** @type {File | null} */ (null));
  const [receivedAt, setReceivedAt] = useState("");
  const [checked, setChecked] = useState(/** @type {any} */ (null));
  const chosen = webhookId || all?.[0]?.id || "";
  const { run, busy, error } = useAction(async () => {
    setChecked(null);
    const sent = {
      headers: readHeaders(headers),
      ...(file ? { bodyBase64: await base64(file) } : { body }),
      ...(receivedAt && { receivedAt: rfc3339(new Date(receivedAt).getTime()) }),
    };
    const { value } = await send("POST", `/webhooks/${chosen}/verify`, { body: sent });
    setChecked(value);
  });
  // What is found is of what was pasted then.
  useEffect(() => setChecked(null), [chosen, headers, body, file, receivedAt]);
  const title = html`<${Title} title="Signature check" />
    <p>Your receiver refuses a delivery? Paste it as your server got it, and see why. Nothing that you paste is kept.</p>`;
  if (!all) return html`${title} ${failed ? html`<${Failure} error=${failed} retry=${reload} />` : html`<${Waiting} />`}`;
  if (all.length === 0) {
    return html`${title}
      <${Empty} title="No webhook to check against"><p>Each webhook has a secret of its own. <a href=${to(["webhooks"])}>Add a webhook</a> first.</p><//>`;
  }
  const names = Object.keys(readHeaders(headers)).filter((name) => /^webhook-(id|timestamp|signature)$/i.test(name));
  return html`${title}
    <${Missing} needs=${["view"]} />
    <div class="columns">
      <${Form} onSubmit=${run} error=${error}>
        <${Field} label="Webhook">
          ${(/** @type {any} */ control) =>
            html`<select ...${control} name="webhook" value=${chosen} onChange=${(/** @type {any} */ event) => setWebhookId(event.currentTarget.value)}>
              ${all.map((webhook) => html`<option key=${webhook.id} value=${webhook.id} selected=${webhook.id === chosen}>${webhook.url}</option>`)}
            </select>`}
        <//>
        <${Field}
          label="Headers"
          error=${error?.of?.("headers")}
          hint=${headers ? (names.length > 0 ? `Found: ${names.join(", ")}` : "None of the three headers is found in it yet.") : "webhook-id, webhook-timestamp and webhook-signature, one a line or as JSON. Others may be among them."}
        >
          ${(/** @type {any} */ control) =>
            html`<textarea ...${control} name="headers" rows="5" spellcheck="false" class="code" value=${headers}
              placeholder=${"webhook-id: evt_…\nwebhook-timestamp: 1776688496\nwebhook-signature: v1,…"}
              onInput=${(/** @type {any} */ event) => setHeaders(event.currentTarget.value)}></textarea>`}
        <//>
        ${file
          ? html`<p class="together">Body: <code>${file.name}</code>, ${file.size.toLocaleString()} bytes <${Button} kind="quiet" onClick=${() => setFile(null)}>Paste it instead<//></p>`
          : html`<${Field} label="Body" error=${error?.of?.("body")} hint="As it came, before anything parsed it.">
              ${(/** @type {any} */ control) =>
                html`<textarea ...${control} name="body" rows="7" spellcheck="false" class="code" value=${body}
                  onInput=${(/** @type {any} */ event) => setBody(event.currentTarget.value)}></textarea>`}
            <//>`}
        <${Field} label="Or the body as a file, to the byte" error=${error?.of?.("bodyBase64")}>
          ${(/** @type {any} */ control) =>
            html`<input ...${control} type="file" name="file" onChange=${(/** @type {any} */ event) => setFile(event.currentTarget.files[0] ?? null)} />`}
        <//>
        <${Field} label="Received" hint=${`In ${zone()}. Empty: just now.`} error=${error?.of?.("receivedAt")}>
          ${(/** @type {any} */ control) =>
            html`<input ...${control} type="datetime-local" step="1" name="receivedAt" value=${receivedAt}
              onInput=${(/** @type {any} */ event) => setReceivedAt(event.currentTarget.value)} />`}
        <//>
        <${Failure} error=${general(error, ["headers", "body", "bodyBase64", "receivedAt"])} />
        <div class="buttons">
          <${Button} kind="main" type="submit" busy=${busy} blocked=${!headers && "Paste the headers first."}>Check it<//>
        </div>
      <//>
      <div role="status" class="found">
        ${checked && html`<${Found} checked=${checked} webhook=${all.find(({ id }) => id === chosen)} />`}
      </div>
    </div>`;
}

/** @param {{checked: {valid: boolean, secretFingerprint: string | null, reasons: string[]}, webhook: import("../types.js").Webhook | undefined}} props */
function Found({ checked, webhook }) {
  const { valid, secretFingerprint, reasons } = checked;
  return html`<section class="panel" aria-labelledby="found">
    <h2 id="found"><${Status} tone=${valid ? "good" : "bad"} word=${valid ? "It verifies" : "It does not verify"} /></h2>
    ${reasons.map((reason) => {
      const { title, advice } = SIGNATURE_REASONS[reason] ?? { title: reason, advice: "" };
      return html`<div key=${reason}><h3>${title}</h3><p>${advice}</p></div>`;
    })}
    ${valid &&
    html`<p>
      The delivery is good. If your receiver refuses it all the same, it has another secret than
      ${" "}<code>${secretFingerprint}</code>, or gives its library other bytes than these.
    </p>`}
    ${!valid && secretFingerprint && html`<p>The signature was made with <code>${secretFingerprint}</code>${secretFingerprint === webhook?.keyFingerprint ? ", the webhook's newest secret" : ""}.</p>`}
  </section>`;
}

/** @param {File} file */
async function base64(file) {
  let binary = "";
  for (const byte of new Uint8Array(await file.arrayBuffer())) binary += String.fromCharCode(byte);
  return btoa(binary);
}
