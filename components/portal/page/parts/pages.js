// A log, a page after the other. The first one is kept up to date while somebody looks at it.

import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { html } from "../html.js";
import { Button } from "./button.js";
import { Failure, Waiting, useAction, useLoad } from "./load.js";

/** How often the first page is asked for again, in milliseconds. */
const EVERY = 5000;

/** How many empty pages are passed over by themselves: a filter can have a page of none before one of some. */
const PASSED = 5;

/**
 * @template T
 * @param {(cursor?: string) => Promise<{items: T[], nextCursor: string | null}>} load
 * @param {string} key what it depends on
 * @param {number} [turn] asks anew when it changes
 */
export function usePages(load, key, turn = 0) {
  const filled = async (/** @type {string | undefined} */ cursor) => {
    let page = await load(cursor);
    for (let passed = 0; page.items.length === 0 && page.nextCursor && passed < PASSED; passed += 1) page = await load(page.nextCursor);
    return page;
  };
  const first = useLoad(() => filled(undefined), key, { every: EVERY });
  const [older, setOlder] = useState(/** @type {{key: string, items: T[], nextCursor: string | null} | null} */ (null));
  const isFirst = useRef(true);
  useEffect(() => {
    if (isFirst.current) isFirst.current = false;
    else first.reload();
  }, [turn]);
  // What was read before stays below the first page as it is now. Where the two no longer meet, since more was
  // published than a page has, it is left out: nothing must be missing in between.
  const shown = first.value?.items ?? [];
  const ids = new Set(shown.map(idOf));
  const meets = older?.key === key && older.items.some((item) => ids.has(idOf(item)));
  const rest = meets ? older : null;
  const items = [...shown, ...(rest?.items ?? []).filter((item) => !ids.has(idOf(item)))];
  const nextCursor = rest ? rest.nextCursor : (first.value?.nextCursor ?? null);
  const more = useAction(async () => {
    const page = await filled(nextCursor ?? undefined);
    setOlder({ key, items: [...items, ...page.items], nextCursor: page.nextCursor });
  });
  return { items: first.value ? items : undefined, error: first.error, reload: first.reload, nextCursor, more };
}

/** @param {any} item */
const idOf = (item) => item.eventId ?? item.id;

/** @param {{pages: ReturnType<typeof usePages>, row: (item: any) => any, children: any}} props `children` is shown where there is none */
export function Pages({ pages, row, children }) {
  const { items, error, reload, nextCursor, more } = pages;
  return html`<${Failure} error=${error} retry=${reload} />
    ${!items && !error && html`<${Waiting} />`}
    ${items && items.length > 0 && html`<ul class="rows">${items.map(row)}</ul>`}
    ${items && items.length === 0 && !nextCursor && children}
    ${items && nextCursor && html`<p class="more"><${Button} icon="down" busy=${more.busy} onClick=${() => more.run()}>Older ones<//></p>`}
    <${Failure} error=${more.error} />`;
}
