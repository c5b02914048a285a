/** The picture of the network: containers on the left, uplinks on the right, a line where traffic goes. */
import { html } from "../html.js";
import { KINDS, places } from "../network.js";
import { containerLink } from "../router.js";
import { Icon } from "./icons.js";

/** Pixels of one place, and between two. */
const HEIGHT = 56;
const GAP = 10;
const PITCH = HEIGHT + GAP;

/** @param {number} count */
const tall = (count) => Math.max(0, count * PITCH - GAP);

/**
 * @param {number} place
 * @param {number} count of places on its side
 * @param {number} height of the picture
 * @returns {number} its middle: the shorter side stands in the middle of the longer
 */
const middle = (place, count, height) => (height - tall(count)) / 2 + place * PITCH + HEIGHT / 2;

const STATES = /** @type {Record<string, string>} */ ({
  up: "up",
  "no internet": "no internet",
  down: "down",
});

/** @param {{ uplink: import("../network.js").Uplink, used: boolean }} props */
function UplinkPlace({ uplink, used }) {
  const note = uplink.state === "up" ? KINDS[uplink.kind] : `${KINDS[uplink.kind]}, ${STATES[uplink.state]}`;
  return html`<li class="place" data-tone=${uplink.state === "up" ? (used ? "way" : "idle") : "cut"} title=${uplink.name}>
    <${Icon} name=${uplink.kind} size=${20} />
    <span><strong>${uplink.name}</strong><span class="note">${note ?? uplink.kind}</span></span>
  </li>`;
}

/** @param {{ place: import("../network.js").Place, goes: string }} props goes: for those who hear the page */
function ContainerPlace({ place, goes }) {
  const inner = html`<span><strong>${place.title}</strong><span class="note">${place.note}</span></span>
    <span class="unseen">${goes}</span>`;
  return html`<li class="place" data-tone=${place.tone} title=${place.title}>
    ${place.name ? html`<a href=${containerLink(place.name)}>${inner}</a>` : inner}
  </li>`;
}

/** @param {{ network: import("../network.js").Network }} props */
export function NetworkMap({ network }) {
  const { uplinks } = network;
  const left = places(network);
  const height = Math.max(tall(left.length), tall(uplinks.length), HEIGHT);
  const used = new Set(left.filter((each) => each.tone === "way").flatMap((each) => each.lines));
  const ways = left.map((each, place) => {
    const from = middle(place, left.length, height);
    const [line] = each.lines;
    if (line === undefined) {
      return html`<g key=${each.key} data-tone=${each.tone}>
        <path d=${`M0 ${from}H34`} />
        ${each.tone === "cut" && html`<path d=${`M34 ${from - 9}V${from + 9}`} />`}
      </g>`;
    }
    const to = middle(line, uplinks.length, height);
    return html`<g key=${each.key} data-tone=${each.tone}><path d=${`M0 ${from}C55 ${from} 45 ${to} 100 ${to}`} /></g>`;
  });
  return html`<div class="map">
    <ul aria-label="Containers">
      ${left.length === 0 && html`<li class="place" data-tone="idle"><span class="note">No container uses it</span></li>`}
      ${left.map(
        (each) => html`<${ContainerPlace} key=${each.key} place=${each}
          goes=${each.lines.length ? `, goes to ${uplinks[each.lines[0] ?? 0]?.name}` : ", goes nowhere"} />`,
      )}
    </ul>
    <svg viewBox=${`0 0 100 ${height}`} height=${height} preserveAspectRatio="none" aria-hidden="true">${ways}</svg>
    <ul aria-label="Uplinks">
      ${uplinks.length === 0 && html`<li class="place" data-tone="cut"><span class="note">No uplink</span></li>`}
      ${uplinks.map((each, place) => html`<${UplinkPlace} key=${each.name} uplink=${each} used=${used.has(place)} />`)}
    </ul>
  </div>`;
}
