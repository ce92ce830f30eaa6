// What is shown without a session: how to get one.

import { useEffect, useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { config, phase } from "../session.js";
import { count } from "../words.js";

/** How long the reader has to see why, before the page goes where a new link is made. In seconds. */
const PAUSE = 5;

/** @type {Record<string, {title: string, text: string}>} */
const WORDS = {
  ended: { title: "This session has ended", text: "Nothing is lost. To go on, open the webhooks again." },
  reloaded: {
    title: "This page was reloaded",
    text: "The key to it is in the page's memory only, so it went with the reload. Open the webhooks again.",
  },
  codeSpent: {
    title: "This link has been used, or is too old",
    text: "A link opens this page once, within a minute. Open the webhooks again for a new one.",
  },
  noLink: {
    title: "This page is opened by a link",
    text: "It shows the webhooks of one application. Open them where you manage your account.",
  },
  unreachable: { title: "The service cannot be reached", text: "Wait a moment, then open the webhooks again." },
};

export function Ended() {
  const { title, text } = WORDS[phase.value] ?? WORDS.noLink;
  const { refreshUrl } = config.value;
  // Only where the reader was in it: a link that does not work must not lead round in circles.
  const goes = Boolean(refreshUrl) && (phase.value === "ended" || phase.value === "reloaded");
  const [left, setLeft] = useState(PAUSE);
  const [stays, setStays] = useState(false);
  useEffect(() => {
    if (!goes || stays || !refreshUrl) return undefined;
    if (left <= 0) location.assign(refreshUrl);
    const timer = setTimeout(() => setLeft(left - 1), 1000);
    return () => clearTimeout(timer);
  }, [goes, stays, left]);
  useEffect(() => void (document.title = title), [title]);
  return html`<main class="ended" id="content">
    <h1 tabindex="-1">${title}</h1>
    <p>${text}</p>
    ${refreshUrl &&
    html`<div class="buttons">
      <a class="button main" href=${refreshUrl}>Open the webhooks again</a>
      ${goes && !stays && html`<button type="button" class="button plain" onClick=${() => setStays(true)}>Stay here</button>`}
    </div>`}
    ${goes &&
    !stays &&
    html`<p class="hint">${left > 0 ? `You are taken there in ${count(left, "second")}.` : "Going there…"}</p>`}
  </main>`;
}
