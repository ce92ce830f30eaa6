// Asking for what a screen shows, and doing what a button says.

import { useCallback, useEffect, useRef, useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { sentence } from "../words.js";
import { Button } from "./button.js";

/**
 * Loads what a screen shows: when it opens, when `key` changes, and every so often while somebody looks. What was
 * loaded stays while it is loaded anew, also when that fails.
 *
 * @template T
 * @param {() => Promise<T>} load
 * @param {string} key what it depends on; empty: nothing is loaded
 * @param {{every?: number}} [options] milliseconds
 * @returns {{value: T | undefined, error: any, reload: () => Promise<void>, set: (value: T) => void}}
 */
export function useLoad(load, key, { every } = {}) {
  const [state, setState] = useState(/** @type {any} */ ({ key }));
  const latest = useRef(/** @type {any} */ ({}));
  latest.current = { load, key };
  const turn = useRef(0);

  const reload = useCallback(async () => {
    const { load, key } = latest.current;
    if (!key) return;
    turn.current += 1;
    const mine = turn.current;
    let next;
    try {
      next = { key, value: await load() };
    } catch (error) {
      next = { key, error };
    }
    // A later one, or another screen, has taken its place.
    if (mine !== turn.current || key !== latest.current.key) return;
    setState((/** @type {any} */ before) => ({ ...(before.key === key && { value: before.value }), ...next }));
  }, []);

  const set = useCallback((/** @type {T} */ value) => {
    turn.current += 1;
    setState({ key: latest.current.key, value });
  }, []);

  useEffect(() => {
    reload();
    return () => void (turn.current += 1);
  }, [key]);

  useEffect(() => {
    if (!every) return undefined;
    const timer = setInterval(() => document.hidden || reload(), every);
    return () => clearInterval(timer);
  }, [every, key]);

  const { value, error } = state.key === key ? state : {};
  return { value, error, reload, set };
}

/**
 * What a button does: one at a time, with its failure.
 *
 * @template {any[]} A
 * @param {(...given: A) => Promise<any>} action
 */
export function useAction(action) {
  const [state, setState] = useState(/** @type {{busy: boolean, error?: any}} */ ({ busy: false }));
  const isBusy = useRef(false);
  /** @param {A} given */
  const run = async (...given) => {
    if (isBusy.current) return undefined;
    isBusy.current = true;
    setState({ busy: true });
    try {
      const result = await action(...given);
      setState({ busy: false });
      return result;
    } catch (error) {
      setState({ busy: false, error });
      return undefined;
    } finally {
      isBusy.current = false;
    }
  };
  return { ...state, run, clear: () => setState({ busy: false }) };
}

/** What stands where something is loaded. It appears only when that takes longer than 300 ms (see parts.css). */
export const Waiting = () => html`<p class="waiting" role="status">Loading…</p>`;

/** A failure, where what failed would be. @param {{error: any, retry?: () => void}} props */
export function Failure({ error, retry }) {
  if (!error) return null;
  if (error.status === undefined) console.error(error);
  const said = error.status === undefined ? "This page failed. Reload it from where you came." : sentence(error);
  return html`<div class="notice bad" role="alert">
    <p>${said}</p>
    ${retry && html`<${Button} onClick=${retry}>Try again<//>`}
  </div>`;
}
