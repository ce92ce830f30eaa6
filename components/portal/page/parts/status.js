// A state as a shape and a word: who does not see colours, or does not see, has both.

import { html } from "../html.js";

/** The outline of each tone, and the strokes in it, in a square of 16. @type {Record<string, [string, string]>} */
const SHAPES = {
  good: ["M8 1.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13z", "M5 8.3l2.2 2.2L11 6"],
  bad: ["M8 1.4L15.2 14H.8z", "M8 6v3.4M8 11.6v.2"],
  warn: ["M8 .8L15.2 8 8 15.2.8 8z", "M8 4.8v3.8M8 10.9v.2"],
  wait: ["M8 1.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13z", "M8 4.7V8.3l2.3 1.4"],
  pause: ["M2 2h12v12H2z", "M6.3 5.4v5.2M9.7 5.4v5.2"],
  off: ["M5.2 1.4h5.6l3.8 3.8v5.6l-3.8 3.8H5.2l-3.8-3.8V5.2z", "M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8"],
  none: ["M8 1.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13z", "M5 8h6"],
};

/** @param {{tone: string}} props */
export const Shape = ({ tone }) => html`<svg class=${`shape ${tone}`} viewBox="0 0 16 16" aria-hidden="true">
  <path class="outline" d=${SHAPES[tone][0]} />
  <path class="strokes" d=${SHAPES[tone][1]} />
</svg>`;

/** @param {{tone: string, word: string, title?: string}} props */
export const Status = ({ tone, word, title }) =>
  html`<span class=${`status ${tone}`} title=${title}><${Shape} tone=${tone} /><span>${word}</span></span>`;
