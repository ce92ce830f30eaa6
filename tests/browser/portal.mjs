// A merchant in the portal with a real browser:
//   node portal.mjs PART MODULES CHROMIUM BASE APPLICATION MERCHANT PUBLISHER SCREENSHOTS AXE
// PART is `desktop`, `phone`, `keyboard` (a day of a merchant, each time) or `screens` (what each screen keeps to).
// MERCHANT and PUBLISHER are tokens; SCREENSHOTS gets the pictures; AXE is axe-core's script. Prints what it measured.
import { createRequire } from "node:module";
import { join } from "node:path";

import { day } from "./portal/day.mjs";
import { Endpoint } from "./portal/endpoint.mjs";
import { Keyboard, Mouse } from "./portal/hands.mjs";
import { Platform } from "./portal/platform.mjs";
import { screens } from "./portal/screens.mjs";
import { Visits } from "./portal/visits.mjs";

const [part, modules, executablePath, base, application, merchant, publisher, screenshots, axe] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, "/"))("playwright-core");

const SIZES = { desktop: { width: 1280, height: 900 }, phone: { width: 360, height: 740 } };

const platform = new Platform({ base, application, merchant, publisher });
const endpoint = await Endpoint.start();
const browser = await chromium.launch({ executablePath, args: process.getuid() === 0 ? ["--no-sandbox"] : [] });
const visits = new Visits({ browser, base, axe, screenshots, sizes: SIZES });
try {
  switch (part) {
    case "desktop":
      await day({ platform, endpoint, visits, size: "desktop", hands: Mouse });
      break;
    case "phone":
      await day({ platform, endpoint, visits, size: "phone", hands: Mouse });
      break;
    case "keyboard":
      await day({ platform, endpoint, visits, size: "desktop", hands: Keyboard });
      break;
    case "screens":
      await screens({ platform, endpoint, visits });
      break;
    default:
      throw new Error(`no part ${part}`);
  }
} finally {
  await browser.close();
  endpoint.stop();
}
