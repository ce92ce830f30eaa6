// Pictures: a few strokes each, in the colour of the text beside them. They never stand alone.

import { html } from "../html.js";

/** @type {Record<string, string>} Paths in a square of 16. */
const PATHS = {
  check: "M3.5 8.5l3 3 6-7",
  cross: "M4 4l8 8M12 4l-8 8",
  alert: "M8 4.5v4.5M8 11.4v.2",
  pause: "M6 4.5v7M10 4.5v7",
  play: "M5.5 4v8l6.5-4z",
  clock: "M8 4.5V8l2.5 1.5",
  stop: "M5 8h6",
  dash: "M5 8h6",
  copy: "M6 6h7v7H6zM10 6V3H3v7h3",
  plus: "M8 3v10M3 8h10",
  send: "M2.5 8L13.5 3 10 13.5 7.5 9z",
  edit: "M3 13l.7-3L10.5 3.2l2.3 2.3L6 12.3z",
  key: "M9.2 6.8a3 3 0 1 0-.8.8L13 12.2V13h-2v-1.5H9.5",
  again: "M12.5 6A5 5 0 1 0 13 9M13 3v3.2H9.8",
  bin: "M3 4.5h10M6.5 4V2.8h3V4M4.5 4.5l.6 8.7h5.8l.6-8.7",
  lock: "M4.5 7.5h7v5h-7zM6 7.5V5.6a2 2 0 0 1 4 0v1.9",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.5 10.5L13.5 13.5",
  back: "M9.5 3.5L5 8l4.5 4.5",
  down: "M8 3v8M4.5 8L8 11.5 11.5 8",
  out: "M6.5 3.5h-3v9h9v-3M9 3h4v4M13 3L7.5 8.5",
};

/** @param {{name: string}} props */
export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
  <path d=${PATHS[name]} />
</svg>`;
