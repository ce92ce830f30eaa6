// How a webhook is doing, in figures, and what came of a test.

import { html } from "../html.js";
import { Bar, summaryWords } from "../parts/bar.js";
import { Button } from "../parts/button.js";
import { Block } from "../parts/copy.js";
import { Ago, Countdown, Moment } from "../parts/moment.js";
import { Status } from "../parts/status.js";
import { can } from "../session.js";
import { duration, now } from "../time.js";
import { ATTEMPT_ERRORS, count } from "../words.js";

/** @param {{health: import("../types.js").Health}} props */
export function HealthOf({ health }) {
  const { attempts, pending, deliveries } = health;
  const words = summaryWords(deliveries.byStatus);
  const latency = attempts.latencyMs;
  return html`<p class="figures">${words || "No deliveries in this time"}</p>
    ${words && html`<${Bar} summary=${deliveries.byStatus} />`}
    <dl class="facts">
      <div>
        <dt>Attempts</dt>
        <dd>${attempts.total === 0 ? "none" : `${attempts.succeeded.toLocaleString()} of ${attempts.total.toLocaleString()} accepted`}</dd>
      </div>
      ${attempts.failed > 0 && html`<div><dt>Failed by</dt><dd>${failedBy(attempts)}</dd></div>`}
      ${latency &&
      html`<div>
        <dt>Answers take</dt>
        <dd title="Half of them no longer than the first, 95 of 100 no longer than the second">
          ${duration(latency.p50)}, at most ${duration(latency.p95)} for 95 of 100
        </dd>
      </div>`}
      <div><dt>Waiting</dt><dd><${Waits} pending=${pending} /></dd></div>
      <div><dt>Last accepted</dt><dd>${health.lastSuccessAt ? html`<${Ago} time=${health.lastSuccessAt} />` : "never, as far as is kept"}</dd></div>
      ${health.willBeDisabledAt &&
      html`<div>
        <dt>Disabled</dt>
        <dd>on <${Moment} time=${health.willBeDisabledAt} />, <${Countdown} time=${health.willBeDisabledAt} due="at the next failure" />, if nothing is accepted before</dd>
      </div>`}
    </dl>`;
}

/** @param {{pending: import("../types.js").Health["pending"]}} props */
function Waits({ pending }) {
  if (pending.count === 0) return html`none`;
  const isDue = pending.oldestDueAt && Date.parse(pending.oldestDueAt) <= now.value;
  return html`${count(pending.count, "delivery", "deliveries")}${pending.oldestDueAt &&
  (isDue ? html`, the first one now` : html`, the first one <${Countdown} time=${pending.oldestDueAt} />`)}`;
}

/** What attempts failed by, the statuses one by one. @param {import("../types.js").Health["attempts"]} attempts */
function failedBy(attempts) {
  const statuses = attempts.byStatusCode.filter(({ httpStatusCode }) => httpStatusCode < 200 || httpStatusCode > 299);
  const errors = attempts.byError.filter(({ error }) => error !== "httpStatus");
  return [
    ...statuses.map(({ httpStatusCode, count }) => `status ${httpStatusCode} (${count.toLocaleString()})`),
    ...errors.map(({ error, count }) => `${(ATTEMPT_ERRORS[error] ?? error).toLowerCase()} (${count.toLocaleString()})`),
  ].join(", ");
}

/**
 * @param {object} props
 * @param {{success: boolean, httpStatusCode: number | null, error: string | null, errorDetail: string | null,
 *   responseBody: string | null, latencyMs: number}} props.result
 * @param {() => void} props.onClose
 */
export const TestResult = ({ result, onClose }) => html`<section class="panel" aria-labelledby="test">
  <div class="title">
    <div class="together">
      <h2 id="test">Test</h2>
      <${Status} tone=${result.success ? "good" : "bad"} word=${result.success ? "Accepted" : "Failed"} />
    </div>
    <${Button} kind="quiet" onClick=${onClose}>Close<//>
  </div>
  <p>
    ${result.httpStatusCode ? `The endpoint returned ${result.httpStatusCode} after ${duration(result.latencyMs)}. ` : ""}
    ${result.errorDetail ?? ""}
  </p>
  ${result.responseBody
    ? html`<${Block} text=${result.responseBody} what="the answer" label="What the endpoint returned" />`
    : result.httpStatusCode &&
      html`<p class="quiet">${can("viewPayloads") ? "Its answer had no body." : "This link does not show answers."}</p>`}
</section>`;
