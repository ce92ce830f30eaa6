// Copying: into the clipboard where the browser lets a page, and for all that is long a block that shows it.

import { useRef, useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { announce } from "./announce.js";
import { Button } from "./button.js";

/** Whether it worked. In a frame that may not, or without https, the older way may. @param {string} text @param {Element} near */
async function copy(text, near) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "hidden";
    // Beside the button: what is outside an open dialog cannot be selected.
    near.after(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/**
 * @param {{text: string | (() => string | Promise<string>), children: any, what: string, kind?: string, needs?: any}} props
 *   `what` is copied, for what is read aloud
 */
export function Copy({ text, children, what, kind, ...rest }) {
  const [isDone, setDone] = useState(false);
  const timer = useRef(/** @type {any} */ (0));
  /** @param {MouseEvent} event */
  const click = async (event) => {
    const button = /** @type {HTMLElement} */ (event.currentTarget);
    const done = await copy(typeof text === "string" ? text : await text(), button);
    button.focus();
    announce(done ? `Copied ${what}.` : `The browser does not let this page copy: select ${what} by hand.`, done ? "good" : "bad");
    setDone(done);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setDone(false), 2000);
  };
  return html`<${Button} kind=${kind} icon=${isDone ? "check" : "copy"} onClick=${click} ...${rest}>${children}<//>`;
}

/** A block of text as it is, with a button that copies it. @param {{text: string, what: string, label: string, copied?: string}} props */
export const Block = ({ text, what, label, copied }) => html`<div class="block">
  <pre tabindex="0" role="region" aria-label=${label}><code>${text}</code></pre>
  <${Copy} kind="quiet" text=${copied ?? text} what=${what}>Copy<//>
</div>`;
