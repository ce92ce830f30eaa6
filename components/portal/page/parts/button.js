// Buttons. One that may not be used now stays where it is, can be reached by keyboard, and says why.

import { useId } from "../vendor/hooks.js";
import { html } from "../html.js";
import { can } from "../session.js";
import { CAPABILITIES } from "../words.js";
import { Icon } from "./icon.js";

/**
 * @param {object} props
 * @param {any} props.children
 * @param {"plain" | "main" | "danger" | "quiet"} [props.kind]
 * @param {string} [props.icon]
 * @param {boolean} [props.busy] whether what it does is under way
 * @param {string | false | null} [props.blocked] why it may not be used now
 * @param {import("../types.js").Capability} [props.needs] what the session must allow
 * @param {(event: MouseEvent) => void} [props.onClick]
 * @param {"button" | "submit"} [props.type]
 */
export function Button({ children, kind = "plain", icon, busy, blocked, needs, onClick, type = "button", ...rest }) {
  const id = useId();
  const missing = needs && !can(needs) ? `This link does not allow ${CAPABILITIES[needs]}.` : "";
  const why = missing || blocked || "";
  /** @param {MouseEvent} event */
  const click = (event) => {
    if (why || busy) event.preventDefault();
    else onClick?.(event);
  };
  return html`<button
      type=${type}
      class=${`button ${kind}`}
      aria-disabled=${why ? "true" : undefined}
      aria-busy=${busy ? "true" : undefined}
      aria-describedby=${why ? id : undefined}
      title=${why || undefined}
      onClick=${click}
      ...${rest}
    >
      ${icon && html`<${Icon} name=${icon} />`}<span>${children}</span></button
    >${why && html`<span id=${id} class="hidden">${why}</span>`}`;
}

/** Says once what of this place the session does not allow. @param {{needs: import("../types.js").Capability[]}} props */
export function Missing({ needs }) {
  const missing = needs.filter((capability) => !can(capability));
  if (missing.length === 0) return null;
  const what = missing.map((capability) => CAPABILITIES[capability]);
  return html`<p class="missing">
    <${Icon} name="lock" />The link that opened this page does not allow
    ${` ${what.join(", nor ")}`}. Who gave it to you can make one that does.
  </p>`;
}
