// What the first screen does not need is loaded after it is drawn, or when it is asked for before.

import { useEffect, useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { Failure, Waiting } from "./load.js";

/** @type {(() => Promise<any>)[]} */
const all = [];

/**
 * A component of a module that is loaded later.
 *
 * @param {() => Promise<any>} load the module
 * @param {string} name the component's
 */
export function later(load, name) {
  /** @type {any} */
  let component;
  const loading = async () => void (component ??= (await load())[name]);
  all.push(loading);
  return function Later(/** @type {any} */ props) {
    const [state, setState] = useState(/** @type {{error?: any}} */ ({}));
    const draw = () => loading().then(() => setState({}), () => setState({ error: { status: 500 } }));
    const isThere = Boolean(component);
    useEffect(() => {
      // Even if it has come since this was drawn.
      if (!isThere) draw();
    }, []);
    if (isThere) return html`<${component} ...${props} />`;
    return state.error ? html`<${Failure} error=${state.error} retry=${draw} />` : html`<${Waiting} />`;
  };
}

/** Loads all of it, once there is nothing else to do. */
export function loadTheRest() {
  const idle = globalThis.requestIdleCallback ?? ((/** @type {() => void} */ then) => setTimeout(then, 200));
  // What fails is tried again when it is shown.
  idle(() => void Promise.allSettled(all.map((load) => load())));
}
