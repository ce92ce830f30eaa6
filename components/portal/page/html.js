// Markup in JavaScript, without a build step: htm reads the template, Preact makes elements of it.

import { h } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export const html = htm.bind(h);
