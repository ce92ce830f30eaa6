// The portal: where a merchant sees and steers the webhooks of one application. begin.js has opened the session.

import { render } from "./vendor/preact.js";
import { effect } from "./vendor/signals.js";
import { App } from "./app.js";
import { apply } from "./colour.js";
import { html } from "./html.js";
import { follow } from "./router.js";
import { config } from "./session.js";

follow();
effect(() => apply(config.value.accent));
render(html`<${App} />`, document.body);
