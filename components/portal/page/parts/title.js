// The heading of a screen, which is the page's title, too.

import { useEffect } from "../vendor/hooks.js";
import { html } from "../html.js";
import { config, session } from "../session.js";
import { Icon } from "./icon.js";

/**
 * @param {object} props
 * @param {string} props.title for the tab
 * @param {any} [props.children] the heading, where it is more than the title
 * @param {{href: string, name: string}} [props.back]
 * @param {any} [props.beside] what stands at the heading's right
 */
export function Title({ title, children, back, beside }) {
  useEffect(() => {
    document.title = [title, session.value?.applicationName, config.value.name].filter(Boolean).join(" · ");
  }, [title]);
  return html`${back && html`<p class="back"><a href=${back.href}><${Icon} name="back" />${back.name}</a></p>`}
    <div class="title">
      <h1 tabindex="-1">${children ?? title}</h1>
      ${beside}
    </div>`;
}

/** What stands where a list would, and what to do first. @param {{title: string, children: any}} props */
export const Empty = ({ title, children }) => html`<div class="empty"><h2>${title}</h2>${children}</div>`;
