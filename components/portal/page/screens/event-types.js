// Screen 5: the event types with an example of each, and receivers that take them.

import { useRef, useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { ApiError, eventTypes, get } from "../api.js";
import { deliveredBody, pretty } from "../body.js";
import { Block } from "../parts/copy.js";
import { Failure, Waiting, useLoad } from "../parts/load.js";
import { Ago } from "../parts/moment.js";
import { Empty, Title } from "../parts/title.js";
import { to } from "../router.js";
import { at, can } from "../session.js";
import { current, rfc3339 } from "../time.js";

/** Whole programs, which the service's own tests run. */
const RECEIVERS = [
  { language: "Python", file: "receiver.py" },
  { language: "JavaScript", file: "receiver.mjs" },
  { language: "Go", file: "receiver.go" },
  { language: "Ruby", file: "receiver.rb" },
  { language: "PHP", file: "receiver.php" },
  { language: "Java", file: "Receiver.java" },
  { language: "C#", file: "Receiver.cs" },
];

/** @param {{query: URLSearchParams}} props */
export function EventTypes({ query }) {
  const { value: types, error, reload } = useLoad(eventTypes, "types");
  return html`<${Title} title="Event types" />
    <p>What the platform publishes. A webhook gets the types that it is subscribed to. Members may be added to what an event holds: ignore what you do not know.</p>
    <${Failure} error=${error} retry=${reload} />
    ${!types && !error && html`<${Waiting} />`}
    ${types?.length === 0 && html`<${Empty} title="No event type yet"><p>The platform has to set them up first.</p><//>`}
    <div class="types">
      ${types?.map((type) => html`<${Type} key=${type.name} type=${type} isOpen=${types.length === 1 || query.get("type") === type.name} />`)}
    </div>
    <${Receivers} isWanted=${query.get("show") === "receivers"} />`;
}

/** @param {{type: import("../types.js").EventType, isOpen: boolean}} props */
function Type({ type, isOpen }) {
  const [isShown, setShown] = useState(isOpen);
  const { value, error } = useLoad(() => example(type), isShown ? type.name : "");
  return html`<details class="type" open=${isShown} onToggle=${(/** @type {any} */ event) => setShown(event.currentTarget.open)}>
    <summary><code>${type.name}</code>${type.title && html` <span class="quiet">${type.title}</span>`}</summary>
    <div class="stack">
      ${type.description && html`<p>${type.description}</p>`}
      <${Failure} error=${error} />
      ${!value && !error && html`<${Waiting} />`}
      ${value &&
      html`<p class="quiet small">
          ${value.at
            ? html`The body of the latest one, <${Ago} time=${value.at} />.`
            : type.example
              ? "An example of a delivery’s body."
              : "The form that all deliveries have. The platform says what `data` holds."}
          ${" "}<a href=${to(["events"], { type: type.name })}>Its events</a>
        </p>
        <${Block} text=${value.body} what="the example" label=${`Example of ${type.name}`} />`}
    </div>
  </details>`;
}

/**
 * The platform's example, else the latest event of the type, else the form that all have.
 *
 * @param {import("../types.js").EventType} type
 * @returns {Promise<{body: string, at?: string}>}
 */
async function example({ name, example: given }) {
  if (given) return { body: JSON.stringify(given, null, 2) };
  if (can("viewPayloads")) {
    const { value } = await get("/events", { type: name, limit: 1 });
    const [latest] = value.items;
    if (latest) {
      const { value: event, text } = await get(`/events/${latest.id}`);
      const body = deliveredBody(event, text);
      if (body) return { body: pretty(body), at: event.createdAt };
    }
  }
  return { body: JSON.stringify({ type: name, timestamp: rfc3339(current()), data: {} }, null, 2) };
}

/** @param {{isWanted: boolean}} props */
function Receivers({ isWanted }) {
  const [chosen, setChosen] = useState(RECEIVERS[0].language);
  const { file: name } = RECEIVERS.find(({ language }) => language === chosen) ?? RECEIVERS[0];
  const { value, error, reload } = useLoad(() => file(`/portal/receivers/${name}`), name);
  const tabs = useRef(/** @type {HTMLElement | null} */ (null));
  /** @param {KeyboardEvent} event */
  const move = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const at = RECEIVERS.findIndex(({ language }) => language === chosen);
    const next = (at + by + RECEIVERS.length) % RECEIVERS.length;
    setChosen(RECEIVERS[next].language);
    /** @type {HTMLElement} */ (tabs.current?.children[next]).focus();
  };
  const section = useRef(/** @type {HTMLElement | null} */ (null));
  const hasScrolled = useRef(false);
  if (isWanted && value && !hasScrolled.current) {
    hasScrolled.current = true;
    requestAnimationFrame(() => section.current?.scrollIntoView());
  }
  return html`<section aria-labelledby="receivers" ref=${section}>
    <h2 id="receivers">A receiver, whole</h2>
    <p>Each is a program that runs as it is, with <code>WEBHOOK_SECRET</code> and <code>PORT</code> in its environment. It verifies the signature before it believes the body. <a href=${at("/docs/receiving")} target="_blank" rel="noopener">How to receive</a> has the rest.</p>
    <div class="tabs" role="tablist" aria-label="Language" ref=${tabs} onKeyDown=${move}>
      ${RECEIVERS.map(
        ({ language }) =>
          html`<button key=${language} type="button" role="tab" id=${`tab-${language}`} aria-selected=${chosen === language ? "true" : "false"}
            aria-controls="receiver" tabindex=${chosen === language ? 0 : -1} onClick=${() => setChosen(language)}>${language}</button>`,
      )}
    </div>
    <div role="tabpanel" id="receiver" aria-labelledby=${`tab-${chosen}`}>
      <${Failure} error=${error} retry=${reload} />
      ${value ? html`<${Block} text=${value} what="the receiver" label=${`Receiver in ${chosen}`} />` : !error && html`<${Waiting} />`}
    </div>
  </section>`;
}

/** What the service serves to everybody. @param {string} path */
async function file(path) {
  const response = await fetch(at(path), { credentials: "omit" });
  if (!response.ok) throw new ApiError(response.status, { message: `${path} cannot be read.` });
  return (await response.text()).trimEnd();
}
