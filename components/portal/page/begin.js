// What cannot wait for the rest of the page: the code leaves the address, and is on its way to be exchanged, while
// the other modules are still loaded.

import { open, readConfig, takeCode } from "./session.js";

open(takeCode());
readConfig();
// A new link in the same tab changes the fragment alone.
addEventListener("hashchange", () => {
  const next = takeCode();
  if (next) open(next);
});
