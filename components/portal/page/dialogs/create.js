// A new webhook, and its secret.

import { useRef, useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { newKey, send } from "../api.js";
import { Button } from "../parts/button.js";
import { Dialog } from "../parts/dialog.js";
import { Form, general } from "../parts/form.js";
import { Failure, useAction } from "../parts/load.js";
import { go, to } from "../router.js";
import { Secret } from "./secret.js";
import { FIELDS, SettingsFields } from "./settings.js";

/** @param {{onClose: () => void, onCreated: () => void}} props */
export function CreateWebhook({ onClose, onCreated }) {
  const [settings, setSettings] = useState({ url: "", subscribedEvents: ["*"] });
  const [created, setCreated] = useState(/** @type {import("../types.js").Webhook | null} */ (null));
  // The same request again has the same answer, secret included; another one is another.
  const key = useRef({ of: "", key: "" });
  const { run, busy, error } = useAction(async () => {
    const body = { url: settings.url.trim(), subscribedEvents: settings.subscribedEvents };
    const of = JSON.stringify(body);
    if (key.current.of !== of) key.current = { of, key: newKey() };
    const { value } = await send("POST", "/webhooks", { body, idempotencyKey: key.current.key });
    setCreated(value);
    onCreated();
  });
  if (created) {
    const done = () => {
      onClose();
      go(to(["webhooks", created.id]));
    };
    return html`<${Dialog} key="secret" title="The webhook is there" isHeld onClose=${done}>
      <${Secret} secret=${created.signingSecret} onDone=${done} />
    <//>`;
  }
  return html`<${Dialog} key="form" title="Add a webhook" onClose=${onClose}>
    <${Form} onSubmit=${run} error=${error}>
      <${SettingsFields} value=${settings} onChange=${setSettings} error=${error} />
      <${Failure} error=${general(error, FIELDS)} />
      <div class="buttons end">
        <${Button} onClick=${onClose}>Cancel<//>
        <${Button} kind="main" type="submit" busy=${busy}>Add it<//>
      </div>
    <//>
  <//>`;
}
