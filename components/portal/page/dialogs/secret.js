// A secret, this once: it stays until the reader says that it is kept, even if the session ends meanwhile.

import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { Button } from "../parts/button.js";
import { Copy } from "../parts/copy.js";
import { Choice } from "../parts/form.js";
import { isHeld } from "../session.js";

/** What a dialog shows of a new secret. @param {{secret: string, children: any, onDone: () => void}} props */
export function Secret({ secret, children, onDone }) {
  const [isKept, setKept] = useState(false);
  const heading = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    heading.current?.focus();
    isHeld.value = true;
    // Nor does a slip of the hand close the tab.
    const ask = (/** @type {Event} */ event) => event.preventDefault();
    addEventListener("beforeunload", ask);
    return () => {
      isHeld.value = false;
      removeEventListener("beforeunload", ask);
    };
  }, []);
  return html`<div class="stack">
    <p ref=${heading} tabindex="-1"><strong>This is the only time that the secret is shown.</strong> Put it where you keep passwords, now.</p>
    <div class="secret">
      <code>${secret}</code>
      <${Copy} kind="main" text=${secret} what="the secret">Copy the secret<//>
    </div>
    <p>Your receiver verifies each request with it. If it is lost, make a new one by “Rotate secret”.</p>
    ${children}
    <${Choice} type="checkbox" name="kept" value="kept" isChosen=${isKept} onChoose=${setKept}>I have kept it<//>
    <div class="buttons end">
      <${Button} kind="main" blocked=${!isKept && "First say that you have kept the secret."} onClick=${onDone}>Done<//>
    </div>
  </div>`;
}
