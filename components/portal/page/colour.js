// The platform's accent, made readable: WCAG 2.2 asks for a contrast of 4.5 to 1 for text, on either scheme.

/** @param {string} hex */
const parse = (hex) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));

/** Relative luminance, from 0 to 1 (WCAG 2.2). @param {number[]} colour */
function luminance(colour) {
  const [red, green, blue] = colour.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** How far apart two colours are, from 1 to 21. @param {string} a @param {string} b */
export function contrast(a, b) {
  const [light, dark] = [luminance(parse(a)), luminance(parse(b))].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}

/** @param {string} from @param {string} to @param {number} share of `to`, from 0 to 1 */
function mix(from, to, share) {
  const [a, b] = [parse(from), parse(to)];
  const parts = a.map((value, index) => Math.round(value + (b[index] - value) * share));
  return `#${parts.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/** The colour, as far towards black or white as the ground asks for. @param {string} accent @param {string} ground */
export function readable(accent, ground) {
  const towards = luminance(parse(ground)) > 0.5 ? "#000000" : "#ffffff";
  for (let share = 0; share < 1; share += 0.05) {
    const colour = mix(accent, towards, share);
    if (contrast(colour, ground) >= 4.5) return colour;
  }
  return towards;
}

/** Black or white, whichever is read better on the colour. @param {string} colour */
export const textOn = (colour) => (contrast(colour, "#ffffff") >= contrast(colour, "#16181d") ? "#ffffff" : "#16181d");

/** The grounds of the page's two schemes that text of the accent's colour stands on: see base.css. */
const GROUNDS = { light: "#f7f7f5", dark: "#222328" };

/** Gives the page the platform's accent. @param {string | null} accent `#rrggbb`; all else leaves the page's own */
export function apply(accent) {
  if (!accent || !/^#[0-9a-f]{6}$/i.test(accent)) return;
  const { style } = document.documentElement;
  for (const [scheme, ground] of Object.entries(GROUNDS)) {
    const colour = readable(accent, ground);
    style.setProperty(`--accent-${scheme}`, colour);
    style.setProperty(`--on-accent-${scheme}`, textOn(colour));
  }
}
