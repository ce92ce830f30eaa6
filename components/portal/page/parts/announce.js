// What has just happened, in a place that screen readers read aloud and that others see for some seconds.

import { signal } from "../vendor/signals.js";
import { html } from "../html.js";
import { Shape } from "./status.js";

/** How long it is seen, in milliseconds. */
const SHOWN = 6000;

/** @type {import("../vendor/signals.js").Signal<{text: string, tone: string} | null>} */
const said = signal(null);

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/** @param {string} text @param {"good" | "bad" | "none"} [tone] */
export function announce(text, tone = "good") {
  clearTimeout(timer);
  said.value = { text, tone };
  timer = setTimeout(() => (said.value = null), SHOWN);
}

export const Announcer = () => html`<div class="announcer" role="status" aria-live="polite">
  ${said.value &&
  html`<p class="announcement"><${Shape} tone=${said.value.tone} /><span>${said.value.text}</span></p>`}
</div>`;
