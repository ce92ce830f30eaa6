// Dialogs: the browser's own, which keeps the focus within and gives it back.

import { useId, useLayoutEffect, useRef } from "../vendor/hooks.js";
import { html } from "../html.js";
import { Button } from "./button.js";
import { Failure, useAction } from "./load.js";

/**
 * @param {object} props
 * @param {string} props.title
 * @param {any} props.children
 * @param {() => void} props.onClose
 * @param {boolean} [props.isHeld] whether Escape does not close it
 * @param {"alertdialog" | "dialog"} [props.role]
 */
export function Dialog({ title, children, onClose, isHeld = false, role }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();
  useLayoutEffect(() => {
    const shown = dialog.current;
    const opener = /** @type {HTMLElement | null} */ (document.activeElement);
    shown?.showModal();
    return () => {
      shown?.close();
      // What opened it may have been drawn anew, or be gone.
      const back = opener?.isConnected ? opener : document.querySelector("h1");
      /** @type {HTMLElement | null} */ (back)?.focus();
    };
  }, []);
  /** @param {Event} event */
  const cancel = (event) => {
    event.preventDefault();
    if (!isHeld) onClose();
  };
  return html`<dialog ref=${dialog} role=${role} aria-labelledby=${id} onCancel=${cancel}>
    <h2 id=${id}>${title}</h2>
    ${children}
  </dialog>`;
}

/**
 * Asks before something that cannot be undone.
 *
 * @param {object} props
 * @param {string} props.title
 * @param {any} props.children what it leads to
 * @param {string} props.verb what the button says
 * @param {() => Promise<any>} props.action
 * @param {() => void} props.onClose
 */
export function Confirm({ title, children, verb, action, onClose }) {
  const { run, busy, error } = useAction(action);
  return html`<${Dialog} title=${title} role="alertdialog" onClose=${onClose}>
    <div class="stack">${children}</div>
    <${Failure} error=${error} />
    <div class="buttons end">
      <${Button} onClick=${onClose}>Cancel<//>
      <${Button} kind="danger" busy=${busy} onClick=${() => run()}>${verb}<//>
    </div>
  <//>`;
}
