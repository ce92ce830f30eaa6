// A new secret, and how long the one before goes on signing beside it.

import { useRef, useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { newKey, send } from "../api.js";
import { Button } from "../parts/button.js";
import { Dialog } from "../parts/dialog.js";
import { Choice, Form, Group, general } from "../parts/form.js";
import { Failure, useAction } from "../parts/load.js";
import { moment, now } from "../time.js";
import { Secret } from "./secret.js";

const GRACES = [
  { seconds: 3600, name: "One hour" },
  { seconds: 86_400, name: "One day" },
  { seconds: 604_800, name: "One week" },
  { seconds: 0, name: "None: the secret has leaked" },
];

/** What a grace leads to, in words. @param {number} seconds */
function graceWords(seconds) {
  if (seconds === 0) {
    return (
      "The old secrets stop signing at once. Until your receiver has the new one, it refuses deliveries; they come " +
      "again by the schedule."
    );
  }
  const until = moment(now.value + seconds * 1000);
  return (
    `Until ${until} each delivery has two signatures, of the new secret and of the old. Your receiver verifies with ` +
    "either, so put the new one into use before then."
  );
}

/** @param {{webhook: import("../types.js").Webhook, etag: string, onClose: () => void, onRotated: () => void}} props */
export function RotateSecret({ webhook, etag, onClose, onRotated }) {
  const [seconds, setSeconds] = useState(86_400);
  const [rotated, setRotated] = useState(/** @type {import("../types.js").Webhook | null} */ (null));
  const keys = useRef(/** @type {Record<number, string>} */ ({}));
  const { run, busy, error } = useAction(async () => {
    const idempotencyKey = (keys.current[seconds] ??= newKey());
    const { value } = await send("POST", `/webhooks/${webhook.id}/rotate`, {
      body: { gracePeriodSeconds: seconds },
      ifMatch: etag,
      idempotencyKey,
    });
    setRotated(value);
    onRotated();
  });
  if (rotated) {
    return html`<${Dialog} key="secret" title="The new secret" isHeld onClose=${onClose}>
      <${Secret} secret=${rotated.signingSecret} onDone=${onClose}><p>${graceWords(seconds)}</p><//>
    <//>`;
  }
  return html`<${Dialog} key="form" title="Rotate the secret" onClose=${onClose}>
    <${Form} onSubmit=${run} error=${error}>
      <p>A new secret is made, and shown once. How long does the old one, <code>${webhook.keyFingerprint}</code>, go on?</p>
      <${Group} label="Grace period" error=${error?.of?.("gracePeriodSeconds")}>
        ${GRACES.map(
          (grace) =>
            html`<${Choice}
              key=${grace.seconds}
              type="radio"
              name="grace"
              value=${grace.seconds}
              isChosen=${seconds === grace.seconds}
              onChoose=${() => setSeconds(grace.seconds)}
              >${grace.name}<//
            >`,
        )}
      <//>
      <p role="status" class="consequence">${graceWords(seconds)}</p>
      <${Failure} error=${general(error, ["gracePeriodSeconds"])} />
      <div class="buttons end">
        <${Button} onClick=${onClose}>Cancel<//>
        <${Button} kind="main" type="submit" busy=${busy}>Rotate<//>
      </div>
    <//>
  <//>`;
}
