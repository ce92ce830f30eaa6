// What the page's modules compute without a screen, as the browser runs them.
import assert from "node:assert/strict";

export async function modules({ platform, visits }) {
  const visit = await visits.open(await platform.link());
  const { page } = visit;

  // The bytes of a member, whatever is in the strings before it, and lines for each member as they are spelled.
  const bodies = await page.evaluate(async () => {
    const { memberText, pretty } = await import("/portal/body.js");
    return [
      memberText('{"a":"\\"data\\":1,","b":{"data":2},"data" : {"x":[1.50,"}"],"y":"\\\\"} ,"z":0}', "data"),
      memberText('{"a":1,"data":[1,2]}', "data"),
      memberText('{"a":{"data":1}}', "data"),
      pretty('{"a":25.00,"b":{},"c":[ ],"d":[1,"{,:\\u00e4"]}'),
      pretty("<h1>no JSON"),
    ];
  });
  assert.deepEqual(bodies, [
    '{"x":[1.50,"}"],"y":"\\\\"}',
    "[1,2]",
    null,
    '{\n  "a": 25.00,\n  "b": {},\n  "c": [],\n  "d": [\n    1,\n    "{,:\\u00e4"\n  ]\n}',
    "<h1>no JSON",
  ]);

  // Headers as people paste them.
  const headers = await page.evaluate(async () => {
    const { readHeaders } = await import("/portal/headers.js");
    return [
      "Webhook-Id: evt_1\r\nwebhook-timestamp: 1\nnonsense\nwebhook-signature: v1,a= v1,b=",
      "> POST /hooks HTTP/1.1\n> webhook-id: evt_1\n> webhook-timestamp: 1\n> webhook-signature: v1,a= v1,b=",
      '  "webhook-id": "evt_1",\n  "webhook-timestamp": "1",\n  "webhook-signature": "v1,a= v1,b=",',
      '{"webhook-id": "evt_1", "webhook-timestamp": "1", "webhook-signature": "v1,a= v1,b="}',
    ].map((text) => {
      const read = readHeaders(text);
      return ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => [read[name]].flat().join()).join(" | ");
    });
  });
  assert.deepEqual(headers, Array(4).fill("evt_1 | 1 | v1,a= v1,b="));

  // The attempts that are to come: a resend takes no step, a recovery begins the schedule anew.
  const planned = await page.evaluate(async () => {
    const { plannedAttempts } = await import("/portal/plan.js");
    const at = (seconds) => new Date(1e12 + seconds * 1000).toISOString();
    const plan = (triggers, more = {}) =>
      plannedAttempts(
        {
          status: "pending",
          attemptCount: triggers.length,
          nextAttemptAt: at(100),
          giveUpAt: at(100_000),
          attempts: triggers.map((trigger, index) => ({ number: index + 1, trigger })),
          ...more,
        },
        [0, 5, 300, 1800],
      ).map((attempt) => [attempt.number, attempt.at / 1000 - 1e9]);
    return [
      plan([]),
      plan(["schedule"]),
      plan(["schedule", "resend"]),
      plan(["schedule", "schedule", "schedule", "schedule", "recovery"]),
      plan(["schedule"], { giveUpAt: at(500) }),
      plan(["schedule"], { nextAttemptAt: null }),
      plan(["schedule"], { status: "succeeded" }),
    ];
  });
  assert.deepEqual(planned, [
    [[1, 100], [2, 105], [3, 405], [4, 2205]],
    [[2, 100], [3, 400], [4, 2200]],
    [[3, 100], [4, 400], [5, 2200]],
    [[6, 100], [7, 400], [8, 2200]],
    [[2, 100], [3, 400]],
    [],
    [],
  ]);

  // Whatever colour a platform has, its text can be read.
  const contrasts = await page.evaluate(async () => {
    const { contrast, readable, textOn } = await import("/portal/colour.js");
    const accents = ["#ffff00", "#000000", "#ffffff", "#808080", "#ff0000", "#0e6b5c", "#b0e0e6"];
    return accents.flatMap((accent) =>
      ["#f7f7f5", "#222328"].flatMap((ground) => {
        const colour = readable(accent, ground);
        return [contrast(colour, ground), contrast(colour, textOn(colour))].map((found) => [accent, ground, found]);
      }),
    );
  });
  assert.deepEqual(contrasts.filter(([, , found]) => found < 4.5), []);

  // Times in words.
  const times = await page.evaluate(async () => {
    const { countdown, duration, moment, rough } = await import("/portal/time.js");
    const noon = new Date(2026, 3, 20, 12, 0, 0).getTime();
    return [
      [0, 182, 4200, 12_000, 252_000, 7_260_000, 90_000_000].map(duration).join(", "),
      [1, 999, 1001, 61_000].map(countdown).join(", "),
      [500, 59_000, 3_599_000, 86_400_000, 200_000_000].map(rough).join(", "),
      [0, 86_400_000, -86_400_000, -10 * 86_400_000].map((ahead) => moment(noon + ahead, noon)).join(", "),
    ];
  });
  assert.deepEqual(times, [
    "0 ms, 182 ms, 4.2 s, 12 s, 4 min 12 s, 2 h 1 min, 1 day 1 h",
    "1 s, 1 s, 2 s, 1 min 1 s",
    "1 s, 59 s, 59 min, 1 day, 2 days",
    "12:00:00, tomorrow, 12:00, yesterday, 12:00, 10 Apr, 12:00",
  ]);
  await visit.close();
}
