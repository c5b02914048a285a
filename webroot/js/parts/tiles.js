/** Readings as tiles: a number, a word about it, and how it went while the page was open. */
import { html } from "../html.js";

/** Samples that a tile remembers: five minutes of one every five seconds. */
const MOST = 60;
const WIDTH = 120;
const HEIGHT = 32;

/**
 * @typedef {object} Reading
 * @property {string} id
 * @property {string} label
 * @property {number} value
 * @property {string} shown the value as text
 * @property {string} note
 * @property {number} low end of the scale
 * @property {number} high
 * @property {"good" | "wait" | "bad"} tone
 */

/** The past of each reading, for as long as this page is loaded. */
export class History {
  /** @type {Map<string, number[]>} */
  #values = new Map();

  /** @param {readonly Reading[]} readings */
  add(readings) {
    for (const { id, value } of readings) {
      const values = [...(this.#values.get(id) ?? []), value];
      this.#values.set(id, values.slice(-MOST));
    }
  }

  /** @param {string} id */
  of(id) {
    return this.#values.get(id) ?? [];
  }
}

/**
 * @param {readonly number[]} values
 * @param {number} low
 * @param {number} high
 * @returns {string} the points of an SVG polyline, the newest at the right edge
 */
export function points(values, low, high) {
  const range = high - low || 1;
  return values
    .map((value, index) => {
      const x = WIDTH - ((values.length - 1 - index) * WIDTH) / (MOST - 1);
      const share = Math.min(1, Math.max(0, (value - low) / range));
      return `${x.toFixed(1)},${(HEIGHT - 2 - share * (HEIGHT - 4)).toFixed(1)}`;
    })
    .join(" ");
}

/** @param {{ reading: Reading, past: readonly number[] }} props */
function Tile({ reading, past }) {
  const { label, shown, note, value, low, high, tone } = reading;
  const share = Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
  return html`<li class="tile" data-tone=${tone}>
    <span class="tile-label">${label}</span>
    <span class="tile-value">${shown}</span>
    <span class="tile-note">${note}</span>
    ${
      past.length > 2
        ? html`<svg class="spark" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
            <polyline points=${points(past, low, high)} />
          </svg>`
        : html`<svg class="spark" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
            <rect class="bar-ground" x="0" y="14" width=${WIDTH} height="6" rx="3" />
            <rect class="bar" x="0" y="14" width=${Math.max(4, share * WIDTH)} height="6" rx="3" />
          </svg>`
    }
  </li>`;
}

/** @param {{ readings: readonly Reading[], history: History }} props */
export function Tiles({ readings, history }) {
  return html`<ul class="tiles" aria-label="Now">
    ${readings.map((each) => html`<${Tile} key=${each.id} reading=${each} past=${history.of(each.id)} />`)}
  </ul>`;
}
