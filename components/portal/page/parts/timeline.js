// The attempts of a delivery on one line of time, past and planned. The list below it says the same in words.

import { html } from "../html.js";
import { now, rough } from "../time.js";
import { Shape } from "./status.js";

/** What the line is marked with, in milliseconds after its beginning. */
const MARKS = [1e3, 10e3, 60e3, 10 * 60e3, 3600e3, 6 * 3600e3, 86400e3, 2 * 86400e3, 4 * 86400e3, 8 * 86400e3, 16 * 86400e3];

/**
 * Where something stands on the line, from 0 to 100. The first minutes have as much room as the last days.
 *
 * @param {number} after milliseconds after the beginning
 * @param {number} whole milliseconds that the line has
 */
export function place(after, whole) {
  const scale = (/** @type {number} */ millis) => Math.log1p(Math.max(0, millis) / 2000);
  return (100 * scale(after)) / scale(Math.max(whole, 1000));
}

/**
 * @param {object} props
 * @param {import("../types.js").Delivery} props.delivery
 * @param {{number: number, at: number}[]} props.planned
 */
export function Timeline({ delivery, planned }) {
  const begin = Date.parse(delivery.createdAt);
  const attempts = delivery.attempts ?? [];
  const lastAttempt = attempts.at(-1)?.startedAt ?? delivery.createdAt;
  const end = Math.max(planned.at(-1)?.at ?? 0, Date.parse(delivery.completedAt ?? lastAttempt), begin + 4000);
  const whole = (end - begin) * 1.05;
  const left = (/** @type {number} */ at) => ({ left: `${place(at - begin, whole)}%` });
  const isOpen = delivery.status === "pending";
  const marks = MARKS.filter((mark) => mark < whole * 0.8);
  // Some eight fit beside each other.
  const step = Math.ceil(marks.length / 6);
  return html`<div class="timeline" aria-hidden="true">
    <div class="line">
      ${isOpen && html`<span class="elapsed" style=${{ width: `${place(Math.min(now.value, end) - begin, whole)}%` }}></span>`}
      ${marks.map(
        (mark, index) =>
          (marks.length - 1 - index) % step === 0 &&
          html`<span class="mark" style=${left(begin + mark)}>${rough(mark)}</span>`,
      )}
      ${planned.map(({ number, at }) => html`<span class="planned" key=${`p${number}`} style=${left(at)}></span>`)}
      ${attempts.map(
        (attempt) =>
          html`<span class="made" key=${attempt.number} style=${left(Date.parse(attempt.startedAt))}
            ><${Shape} tone=${attempt.error === null ? "good" : "bad"}
          /></span>`,
      )}
      ${isOpen && now.value < end && html`<span class="now" style=${left(now.value)}>now</span>`}
    </div>
  </div>`;
}
