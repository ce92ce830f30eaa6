// Times in the reader's zone and words, and a clock that what is shown follows.

import { signal } from "./vendor/signals-core.js";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How far the service's clock is ahead of this machine's, in milliseconds. */
let skew = 0;

/** Now by the service's clock, in milliseconds since 1970. */
export const current = () => Date.now() + skew;

/** [`current`], moved on each second while somebody looks. */
export const now = signal(current());

const move = () => {
  if (!document.hidden) now.value = current();
};
setInterval(move, SECOND);
document.addEventListener("visibilitychange", move);

/** Takes the service's clock for this machine's, which may be wrong. @param {string | null} date the header `Date` */
export function synchronize(date) {
  const ahead = Date.parse(date ?? "") - Date.now();
  // It has whole seconds, and took its time.
  if (Math.abs(ahead) < 5 * SECOND || Number.isNaN(ahead)) return;
  skew = ahead;
  move();
}

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/** @param {number} moment @param {Intl.DateTimeFormatOptions} options */
function format(moment, options) {
  const key = JSON.stringify(options);
  const known = formats.get(key) ?? new Intl.DateTimeFormat(undefined, options);
  formats.set(key, known);
  return known.format(moment);
}

/** @param {number} a @param {number} b */
const isSameDay = (a, b) => new Date(a).toDateString() === new Date(b).toDateString();

/** When something is, as short as its day allows: `14:03:20`, `yesterday, 14:03`, `3 Nov, 14:03`.
 * @param {string | number} time @param {number} [at] */
export function moment(time, at = now.value) {
  const then = new Date(time).getTime();
  const clock = format(then, { hour: "2-digit", minute: "2-digit" });
  if (isSameDay(then, at)) return format(then, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  if (isSameDay(then, at - DAY)) return `yesterday, ${clock}`;
  if (isSameDay(then, at + DAY)) return `tomorrow, ${clock}`;
  const isThisYear = new Date(then).getFullYear() === new Date(at).getFullYear();
  const day = format(then, { day: "numeric", month: "short", ...(isThisYear ? {} : { year: "numeric" }) });
  return `${day}, ${clock}`;
}

/** When something is, with all that is known of it, for a title. @param {string | number} time */
export function fullMoment(time) {
  return format(new Date(time).getTime(), {
    dateStyle: "full",
    timeStyle: "long",
  });
}

/** The units of [`duration`], the largest first. @type {[number, (count: number) => string][]} */
const UNITS = [
  [DAY, (count) => (count === 1 ? "1 day" : `${count} days`)],
  [HOUR, (count) => `${count} h`],
  [MINUTE, (count) => `${count} min`],
  [SECOND, (count) => `${count} s`],
];

/** How long something is, in its two largest units: `182 ms`, `4.2 s`, `4 min 12 s`, `3 days 4 h`. @param {number} millis */
export function duration(millis) {
  const total = Math.max(0, millis);
  if (total < SECOND) return `${Math.round(total)} ms`;
  if (total < 10 * SECOND && total % SECOND >= 50) return `${(total / SECOND).toFixed(1)} s`;
  const first = UNITS.findIndex(([length]) => total >= length);
  const [length, words] = UNITS[first];
  const [lesser, lesserWords] = UNITS[first + 1] ?? [Infinity, words];
  const rest = Math.floor((total % length) / lesser);
  return words(Math.floor(total / length)) + (rest > 0 ? ` ${lesserWords(rest)}` : "");
}

/** As [`duration`], without parts of seconds: for what counts down. @param {number} millis */
export const countdown = (millis) => duration(Math.max(SECOND, Math.ceil(millis / SECOND) * SECOND));

/** How long ago something was: `just now`, `12 s ago`, `3 h ago`. @param {string} time */
export function ago(time) {
  const millis = now.value - Date.parse(time);
  if (millis < 5 * SECOND) return "just now";
  return `${rough(millis)} ago`;
}

/** How long something is, in its largest unit. @param {number} millis */
export function rough(millis) {
  if (millis < MINUTE) return `${Math.max(1, Math.floor(millis / SECOND))} s`;
  if (millis < HOUR) return `${Math.floor(millis / MINUTE)} min`;
  if (millis < DAY) return `${Math.floor(millis / HOUR)} h`;
  const days = Math.floor(millis / DAY);
  return days === 1 ? "1 day" : `${days} days`;
}

/** A time as RFC 3339, for the API. @param {number} millis */
export const rfc3339 = (millis) => new Date(millis).toISOString();

/** What `<input type="datetime-local">` holds, in the reader's zone. @param {number} millis */
export function local(millis) {
  const zoned = new Date(millis - new Date(millis).getTimezoneOffset() * MINUTE);
  return zoned.toISOString().slice(0, 16);
}

/** The reader's zone, such as `Europe/Berlin`. */
export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

export { SECOND, MINUTE, HOUR, DAY };
