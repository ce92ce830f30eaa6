// A change of a webhook. Whoever was faster is not overruled unseen: what they changed is shown first.

import { useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { get, send } from "../api.js";
import { announce } from "../parts/announce.js";
import { Button } from "../parts/button.js";
import { Dialog } from "../parts/dialog.js";
import { Form, general } from "../parts/form.js";
import { Failure, useAction } from "../parts/load.js";
import { eventWords } from "../words.js";
import { FIELDS, SettingsFields } from "./settings.js";

/**
 * @param {object} props
 * @param {import("../types.js").Webhook} props.webhook as it was read
 * @param {string} props.etag
 * @param {() => void} props.onClose
 * @param {() => void} props.onChanged
 */
export function EditWebhook({ webhook, etag, onClose, onChanged }) {
  const [base, setBase] = useState({ webhook, etag });
  const [settings, setSettings] = useState({ url: webhook.url, subscribedEvents: webhook.subscribedEvents });
  const [theirs, setTheirs] = useState(/** @type {{webhook: import("../types.js").Webhook, etag: string} | null} */ (null));
  const save = useAction(async () => {
    const body = changes(base.webhook, settings);
    if (Object.keys(body).length === 0) return onClose();
    try {
      await send("PATCH", `/webhooks/${webhook.id}`, { body, ifMatch: base.etag });
    } catch (/** @type {any} */ error) {
      if (error.status !== 412) throw error;
      const { value, etag: current } = await get(`/webhooks/${webhook.id}`);
      setTheirs({ webhook: value, etag: current ?? "" });
      return undefined;
    }
    announce("The webhook was changed.");
    onChanged();
    return onClose();
  });

  if (theirs) {
    const goOn = () => {
      // What I did not touch is theirs; what I did is mine, over theirs.
      const mine = changes(base.webhook, settings);
      setSettings({ url: theirs.webhook.url, subscribedEvents: theirs.webhook.subscribedEvents, ...mine });
      setBase(theirs);
      setTheirs(null);
    };
    const take = () => {
      onChanged();
      onClose();
    };
    return html`<${Dialog} key="conflict" title="Somebody else changed it meanwhile" onClose=${onClose}>
      <div class="stack">
        <p>Nothing of yours was saved. This is what differs:</p>
        <${Conflict} before=${base.webhook} now=${theirs.webhook} mine=${settings} />
        <div class="buttons end">
          <${Button} onClick=${take}>Leave it as it is now<//>
          <${Button} kind="main" onClick=${goOn}>Go on with my changes<//>
        </div>
      </div>
    <//>`;
  }
  return html`<${Dialog} key="form" title="Edit the webhook" onClose=${onClose}>
    <${Form} onSubmit=${save.run} error=${save.error}>
      <${SettingsFields} value=${settings} onChange=${setSettings} error=${save.error} />
      <${Failure} error=${general(save.error, FIELDS)} />
      <div class="buttons end">
        <${Button} onClick=${onClose}>Cancel<//>
        <${Button} kind="main" type="submit" busy=${save.busy}>Save<//>
      </div>
    <//>
  <//>`;
}

/** What differs from the webhook. @param {import("../types.js").Webhook} webhook @param {import("./settings.js").Settings} settings */
function changes(webhook, settings) {
  const url = settings.url.trim();
  const isSame = [...webhook.subscribedEvents].sort().join() === [...settings.subscribedEvents].sort().join();
  return { ...(url !== webhook.url && { url }), ...(!isSame && { subscribedEvents: settings.subscribedEvents }) };
}

/** @param {{before: import("../types.js").Webhook, now: import("../types.js").Webhook, mine: import("./settings.js").Settings}} props */
function Conflict({ before, now, mine }) {
  const rows = [
    ["Address", before.url, now.url, mine.url.trim()],
    ["Events", eventWords(before.subscribedEvents), eventWords(now.subscribedEvents), eventWords(mine.subscribedEvents)],
    ["Deliveries", active(before), active(now), active(before)],
    ["Secret", before.keyFingerprint, now.keyFingerprint, before.keyFingerprint],
  ].filter(([, was, is, own]) => was !== is || was !== own);
  return html`<dl class="conflict">
    ${rows.map(
      ([name, was, is, own]) => html`<div key=${name}>
        <dt>${name}</dt>
        <dd><span>was</span><span class="value">${was}</span></dd>
        ${is !== was && html`<dd><span>is now</span><strong class="value">${is}</strong></dd>`}
        ${own !== was && html`<dd><span>you want</span><span class="value">${own}</span></dd>`}
      </div>`,
    )}
  </dl>`;
}

/** @param {import("../types.js").Webhook} webhook */
const active = (webhook) => (webhook.isActive ? "delivered" : "paused");
