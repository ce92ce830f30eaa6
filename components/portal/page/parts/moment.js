// A time in the reader's zone, with the whole of it behind.

import { html } from "../html.js";
import { ago, countdown, fullMoment, moment, now } from "../time.js";

/** @param {{time: string | null | undefined}} props */
export const Moment = ({ time }) =>
  time ? html`<time datetime=${time} title=${fullMoment(time)}>${moment(time)}</time>` : "–";

/** How long ago. @param {{time: string}} props */
export const Ago = ({ time }) => html`<time datetime=${time} title=${fullMoment(time)}>${ago(time)}</time>`;

/** How long until something. @param {{time: string, due?: string}} props `due`: what it says when the time has come */
export function Countdown({ time, due = "now" }) {
  const left = Date.parse(time) - now.value;
  return html`<time datetime=${time} title=${fullMoment(time)} class="countdown"
    >${left <= 0 ? due : `in ${countdown(left)}`}</time
  >`;
}
