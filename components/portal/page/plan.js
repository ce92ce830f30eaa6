// The attempts of a delivery that are still to come, out of the platform's schedule.

/**
 * When further attempts are made if each of them fails. The first is the one that the API names; the others come
 * at these times or a little later, since each is up to a tenth late on purpose.
 *
 * @param {import("./types.js").Delivery} delivery
 * @param {number[]} schedule the pauses before each attempt, in seconds
 * @returns {{number: number, at: number}[]} times in milliseconds since 1970
 */
export function plannedAttempts(delivery, schedule) {
  if (delivery.status !== "pending" || !delivery.nextAttemptAt) return [];
  const end = Date.parse(delivery.giveUpAt);
  const planned = [{ number: delivery.attemptCount + 1, at: Date.parse(delivery.nextAttemptAt) }];
  for (const pause of schedule.slice(stepsTaken(delivery, schedule) + 1)) {
    const last = planned[planned.length - 1];
    const at = last.at + pause * 1000;
    if (at > end) break;
    planned.push({ number: last.number + 1, at });
  }
  return planned;
}

/**
 * How many steps of the schedule were taken. A resend takes none; a recovery begins the schedule anew, once the one
 * before had come to its end.
 *
 * @param {import("./types.js").Delivery} delivery
 * @param {number[]} schedule
 */
function stepsTaken(delivery, schedule) {
  const attempts = (delivery.attempts ?? []).filter(({ trigger }) => trigger !== "resend");
  const recovered = attempts.findIndex(({ trigger }) => trigger === "recovery");
  const current = recovered === -1 ? attempts.length : attempts.length - recovered;
  return current % Math.max(1, schedule.length);
}
