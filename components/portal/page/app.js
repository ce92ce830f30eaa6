// The frame of every screen: who the platform is, where one is, and which screen the address names.

import { useEffect, useRef } from "./vendor/hooks.js";
import { html } from "./html.js";
import { Announcer, announce } from "./parts/announce.js";
import { Icon } from "./parts/icon.js";
import { later } from "./parts/later.js";
import { Countdown } from "./parts/moment.js";
import { route, to } from "./router.js";
import { config, hasEnded, phase, session } from "./session.js";
import { MINUTE, now } from "./time.js";
import { Ended } from "./screens/ended.js";
import { Webhooks } from "./screens/webhooks.js";

const Delivery = later(() => import("./screens/delivery.js"), "Delivery");
const Event = later(() => import("./screens/event.js"), "Event");
const Events = later(() => import("./screens/events.js"), "Events");
const EventTypes = later(() => import("./screens/event-types.js"), "EventTypes");
const Signature = later(() => import("./screens/signature.js"), "Signature");
const Webhook = later(() => import("./screens/webhook.js"), "Webhook");

const PLACES = [
  { path: "webhooks", name: "Webhooks" },
  { path: "events", name: "Events" },
  { path: "event-types", name: "Event types" },
  { path: "signature", name: "Signatures" },
];

/** From when on the end of the session is announced. */
const NOTICE = 5 * MINUTE;

export function App() {
  if (hasEnded.value) return html`<${Frame}><${Ended} /><//>`;
  // For the first moments there is nothing to see: a word would only flicker.
  if (phase.value === "opening" && !session.value) return html`<${Frame} />`;
  return html`<${Frame} places=${PLACES}><${Screen} /><//>`;
}

/** @param {{children?: any, places?: {path: string, name: string}[]}} props */
function Frame({ children, places = [] }) {
  const { name, logoUrl } = config.value;
  const [here = "webhooks"] = route.value.path;
  return html`<a class="skip" href="#content" onClick=${skip}>Skip to the content</a>
    <header>
      <div class="brand">
        ${logoUrl ? html`<img src=${logoUrl} alt=${name} height="24" />` : html`<span class="name">${name}</span>`}
        ${session.value?.applicationName && html`<span class="application">${session.value.applicationName}</span>`}
      </div>
      ${places.length > 0 &&
      html`<nav aria-label="Screens">
        ${places.map(
          (place) =>
            html`<a key=${place.path} href=${to([place.path])} aria-current=${here === place.path ? "page" : undefined}
              >${place.name}</a
            >`,
        )}
      </nav>`}
    </header>
    <${Ending} />
    ${children}
    <${Announcer} />`;
}

/** @param {MouseEvent} event */
function skip(event) {
  // A fragment is an address here.
  event.preventDefault();
  document.getElementById("content")?.focus();
}

/** That the session ends soon. */
function Ending() {
  const expiresAt = session.value?.expiresAt;
  const isNear = Boolean(expiresAt) && Date.parse(expiresAt ?? "") - now.value <= NOTICE;
  useEffect(() => {
    if (isNear) announce("This session ends within five minutes.", "none");
  }, [isNear]);
  if (!expiresAt || !isNear) return null;
  return html`<p class="ending">
    <${Icon} name="clock" />This session ends <${Countdown} time=${expiresAt} />. Finish what you have begun.
  </p>`;
}

function Screen() {
  const { path, query } = route.value;
  const address = path.join("/");
  const main = useRef(/** @type {HTMLElement | null} */ (null));
  const isFirst = useRef(true);
  useEffect(() => {
    // Whoever follows a link is at the beginning of what it shows; whoever has just come is not moved.
    if (isFirst.current) isFirst.current = false;
    else {
      scrollTo(0, 0);
      main.current?.querySelector("h1")?.focus({ preventScroll: true });
    }
  }, [address]);
  return html`<main ref=${main} id="content" tabindex="-1" key=${address}>${screen(path, query)}</main>`;
}

/** @param {string[]} path @param {URLSearchParams} query */
function screen(path, query) {
  const [place = "webhooks", id, sub, eventId] = path;
  switch (place) {
    case "webhooks":
      if (id && sub === "deliveries" && eventId) return html`<${Delivery} webhookId=${id} eventId=${eventId} />`;
      return id ? html`<${Webhook} id=${id} query=${query} />` : html`<${Webhooks} />`;
    case "events":
      return id ? html`<${Event} id=${id} />` : html`<${Events} query=${query} />`;
    case "event-types":
      return html`<${EventTypes} query=${query} />`;
    case "signature":
      return html`<${Signature} query=${query} />`;
    default:
      return html`<h1 tabindex="-1">There is no such screen</h1>
        <p><a href=${to(["webhooks"])}>To the webhooks</a></p>`;
  }
}
