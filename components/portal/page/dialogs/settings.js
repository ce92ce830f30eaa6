// What a merchant says of a webhook: its address and the events it gets. Of the dialogs that create and edit.

import { html } from "../html.js";
import { eventTypeNames } from "../api.js";
import { Choice, Field, Group } from "../parts/form.js";
import { useLoad } from "../parts/load.js";

/** The fields that the API names in what is wrong. */
export const FIELDS = ["url", "subscribedEvents"];

/**
 * @typedef {{url: string, subscribedEvents: string[]}} Settings
 * @param {{value: Settings, onChange: (value: Settings) => void, error: any}} props
 */
export function SettingsFields({ value, onChange, error }) {
  const { value: types = [] } = useLoad(eventTypeNames, "names of types");
  const isEvery = value.subscribedEvents.includes("*");
  const chosen = value.subscribedEvents.filter((type) => type !== "*");
  // One that the platform has withdrawn stays as long as nobody takes it away.
  const known = [...types, ...chosen.filter((type) => !types.includes(type))];
  /** @param {string[]} subscribedEvents */
  const subscribe = (subscribedEvents) => onChange({ ...value, subscribedEvents });
  return html`<${Field}
      label="Address"
      hint="A public https URL of your server. Its port may be any."
      error=${error?.of?.("url")}
    >
      ${(/** @type {any} */ control) =>
        html`<input
          ...${control}
          type="url"
          name="url"
          inputmode="url"
          autocomplete="off"
          spellcheck="false"
          placeholder="https://example.com/webhooks"
          value=${value.url}
          onInput=${(/** @type {any} */ event) => onChange({ ...value, url: event.currentTarget.value })}
        />`}
    <//>
    <${Group} label="Events" error=${error?.of?.("subscribedEvents")}>
      <${Choice} type="radio" name="every" value="every" isChosen=${isEvery} onChoose=${() => subscribe(["*"])}
        hint="Also of types that the platform adds later."
        >Every event<//
      >
      <${Choice} type="radio" name="every" value="some" isChosen=${!isEvery} onChoose=${() => subscribe(isEvery ? known : chosen)}
        >These only<//
      >
      ${!isEvery &&
      html`<div class="choices">
        ${known.map(
          (type) =>
            html`<${Choice}
              key=${type}
              type="checkbox"
              name="type"
              value=${type}
              isChosen=${chosen.includes(type)}
              onChoose=${(/** @type {boolean} */ isChosen) =>
                subscribe(isChosen ? known.filter((one) => one === type || chosen.includes(one)) : chosen.filter((one) => one !== type))}
              ><code>${type}</code><//
            >`,
        )}
      </div>`}
    <//>`;
}
