// Screen 4: the application's events, and the search for one.

import { useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { eventTypeNames, get } from "../api.js";
import { Bar, summaryWords } from "../parts/bar.js";
import { Button } from "../parts/button.js";
import { Failure, useAction, useLoad } from "../parts/load.js";
import { Moment } from "../parts/moment.js";
import { Pages, usePages } from "../parts/pages.js";
import { Empty, Title } from "../parts/title.js";
import { go, to } from "../router.js";
import { SINCE, Select, after } from "./filters.js";

/** @param {{query: URLSearchParams}} props */
export function Events({ query }) {
  const filter = { type: query.get("type") ?? "", since: query.get("since") ?? "" };
  const pages = usePages(
    (cursor) => get("/events", { type: filter.type, after: after(filter.since), limit: 20, cursor }).then(({ value }) => value),
    `events ${JSON.stringify(filter)}`,
  );
  const { value: types = [] } = useLoad(eventTypeNames, "names of types");
  /** @param {Record<string, string>} change */
  const choose = (change) => go(to(["events"], { ...Object.fromEntries(query), ...change }), { replace: true });
  return html`<${Title} title="Events" />
    <${Search} />
    <div class="filters">
      <${Select} label="Event type" value=${filter.type} onChoose=${(/** @type {string} */ type) => choose({ type })}
        options=${[["", "Any type"], ...types.map((type) => [type, type])]} />
      <${Select} label="Time" value=${filter.since} onChoose=${(/** @type {string} */ since) => choose({ since })} options=${SINCE} />
    </div>
    <${Pages} pages=${pages} row=${(/** @type {any} */ event) => html`<${Row} key=${event.id} event=${event} />`}>
      ${filter.type || filter.since
        ? html`<${Empty} title="No such event"><p>Take a filter away, or look further back in time.</p><//>`
        : html`<${Empty} title="No event yet">
            <p>Events stand here as soon as the platform has published one for this application. Until then, <a href=${to(["webhooks"])}>add a webhook</a> and send it a test.</p>
          <//>`}
    <//>`;
}

/** By the event's id, or by the id that the publisher gave it. */
function Search() {
  const [text, setText] = useState("");
  const [missed, setMissed] = useState("");
  const { run, busy, error } = useAction(async () => {
    const id = text.trim();
    setMissed("");
    if (!id) return;
    const found = (await byId(id)) ?? (await byPublishersId(id));
    if (found) go(to(["events", found]));
    else setMissed(id);
  });
  return html`<form
    class="search"
    role="search"
    onSubmit=${(/** @type {Event} */ event) => {
      event.preventDefault();
      run();
    }}
  >
    <label for="search">Find an event by its id, or by the publisher's</label>
    <div class="together">
      <input id="search" type="search" name="id" autocomplete="off" spellcheck="false" placeholder="evt_… or the publisher's id" value=${text}
        onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)} />
      <${Button} type="submit" icon="search" busy=${busy}>Find<//>
    </div>
    <p role="status" class="quiet">
      ${missed && html`No event has the id <code>${missed}</code>. Events are searched by the whole id, for as long as they are kept.`}
    </p>
    <${Failure} error=${error} />
  </form>`;
}

/** The id, if there is such an event. @param {string} id */
async function byId(id) {
  if (!/^evt_[0-9a-f]{32}$/.test(id)) return null;
  try {
    return (await get(`/events/${id}`)).value.id;
  } catch (/** @type {any} */ error) {
    if (error.status === 404) return null;
    throw error;
  }
}

/** @param {string} id */
async function byPublishersId(id) {
  const { value } = await get("/events", { idempotencyKey: id });
  return value.items[0]?.id ?? null;
}

/** @param {{event: import("../types.js").Event}} props */
function Row({ event }) {
  const words = summaryWords(event.summary);
  return html`<li class="row event">
    <div class="what">
      <a href=${to(["events", event.id])}><code>${event.type}</code></a>
      <span class="quiet small id">${event.id}</span>
    </div>
    <div class="outcome">
      <p>${words || "no webhook got it"}</p>
      ${words && html`<${Bar} summary=${event.summary} />`}
    </div>
    <p class="when"><${Moment} time=${event.createdAt} /></p>
  </li>`;
}
