// Fields: each with its label, a hint, and what the API says is wrong with it.

import { useId, useLayoutEffect, useRef } from "../vendor/hooks.js";
import { html } from "../html.js";

/**
 * A labelled field. `children` gets what the control needs to be named and described by it.
 *
 * @param {object} props
 * @param {string} props.label
 * @param {any} [props.hint]
 * @param {string} [props.error]
 * @param {(control: {id: string, "aria-describedby"?: string, "aria-invalid"?: string}) => any} props.children
 */
export function Field({ label, hint, error, children }) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  return html`<div class=${`field ${error ? "wrong" : ""}`}>
    <label for=${id}>${label}</label>
    ${children({ id, "aria-describedby": described || undefined, "aria-invalid": error ? "true" : undefined })}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${error && html`<p class="error" id=${`${id}-error`}>${error}</p>`}
  </div>`;
}

/**
 * A group of choices with a heading of its own.
 *
 * @param {{label: string, hint?: any, error?: string, children: any}} props
 */
export function Group({ label, hint, error, children }) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  return html`<fieldset class=${`field ${error ? "wrong" : ""}`} aria-describedby=${described || undefined}>
    <legend>${label}</legend>
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`} ${children}
    ${error && html`<p class="error" id=${`${id}-error`}>${error}</p>`}
  </fieldset>`;
}

/**
 * One choice of several.
 *
 * @param {{type: "radio" | "checkbox", name: string, value: string, isChosen: boolean, onChoose: (isChosen: boolean) => void,
 *   children: any, hint?: any}} props
 */
export function Choice({ type, name, value, isChosen, onChoose, children, hint }) {
  const id = useId();
  return html`<label class="choice">
    <input
      type=${type}
      name=${name}
      value=${value}
      checked=${isChosen}
      aria-describedby=${hint ? id : undefined}
      onChange=${(/** @type {any} */ event) => onChoose(event.currentTarget.checked)}
    />
    <span
      ><span>${children}</span>${hint && html`<span class="hint" id=${id}>${hint}</span>`}</span
    >
  </label>`;
}

/** A form whose first wrong field gets the focus, when the API has said what is wrong.
 * @param {{onSubmit: () => void, error: any, children: any}} props */
export function Form({ onSubmit, error, children }) {
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  useLayoutEffect(() => {
    if (!error) return;
    const wrong = form.current?.querySelector("[aria-invalid], .wrong input");
    /** @type {HTMLElement | null | undefined} */ (wrong)?.focus();
  }, [error]);
  /** @param {SubmitEvent} event */
  const submit = (event) => {
    event.preventDefault();
    onSubmit();
  };
  return html`<form ref=${form} class="stack" novalidate onSubmit=${submit}>${children}</form>`;
}

/** What an error says that belongs to none of the fields shown. @param {any} error @param {string[]} fields */
export function general(error, fields) {
  if (!error) return null;
  if (error.status !== 400 || error.details.length === 0) return error;
  const others = error.details.filter((/** @type {any} */ detail) => !fields.includes(detail.field));
  if (others.length === 0) return null;
  const message = others.map((/** @type {any} */ detail) => `${detail.field}: ${detail.message}.`).join(" ");
  return { status: 400, message, details: [] };
}
