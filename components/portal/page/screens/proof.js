// The proof of a delivery: a signed statement for whoever doubts it.

import { useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { get } from "../api.js";
import { Button } from "../parts/button.js";
import { Block, Copy } from "../parts/copy.js";
import { Dialog } from "../parts/dialog.js";
import { Failure, useAction } from "../parts/load.js";
import { at } from "../session.js";

/** @param {{path: string, eventId: string}} props */
export function Proof({ path, eventId }) {
  const [proof, setProof] = useState("");
  const { run, busy, error } = useAction(async () => setProof((await get(`${path}/proof`)).value.proof));
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([proof], { type: "application/jwt" }));
    link.download = `${eventId}.proof.jwt`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  return html`<${Button} icon="lock" needs="viewPayloads" busy=${busy} onClick=${() => run()}>Proof<//>
    <${Failure} error=${error} />
    ${proof &&
    html`<${Dialog} title="Proof of this delivery" onClose=${() => setProof("")}>
      <div class="stack">
        <p>
          A statement, signed by the service, of what was sent, when, and what your endpoint returned. It holds no data
          of the event. Anybody can verify it with the keys at <code>${location.origin}${at("/.well-known/jwks.json")}</code>.
        </p>
        <${Block} text=${JSON.stringify(payload(proof), null, 2)} copied=${proof} what="the proof" label="What the proof states" />
        <div class="buttons end">
          <${Copy} text=${proof} what="the proof">Copy the proof<//>
          <${Button} icon="down" onClick=${save}>Save as a file<//>
          <${Button} kind="main" onClick=${() => setProof("")}>Close<//>
        </div>
      </div>
    <//>`}`;
}

/** What a JWS states. @param {string} jws */
function payload(jws) {
  const base64 = jws.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}
