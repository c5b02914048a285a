/** How a container starts: with the machine, after what, and again when it ends. */
import { setSetting } from "../acts.js";
import { duration } from "../format.js";
import { html } from "../html.js";
import { useLive } from "../live.js";
import { Select, Several, TextLine } from "./choice.js";
import { Switch } from "./switch.js";

/** @typedef {import("../model.js").Container} Container */
/** @typedef {import("./choice.js").Option} Option */

/** @type {readonly Option[]} */
const CONDITIONS = [
  ["uplink", "The internet is there"],
  ["storage", "Storage is unlocked"],
  ["boot-completed", "Android has started"],
];
/** Seconds that people wait. */
const DELAYS = [0, 5, 10, 30, 60, 120, 300, 600];
/** @type {readonly Option[]} */
const POLICIES = [
  ["no", "Never"],
  ["on-failure", "When it fails"],
  ["always", "Always"],
];
const STORAGE = "/sdcard";

/** @param {number} delay */
function delayOptions(delay) {
  const all = DELAYS.includes(delay) ? DELAYS : [...DELAYS, delay].sort((a, b) => a - b);
  return all.map(
    (each) =>
      /** @type {Option} */ ([
        String(each),
        each === 0 ? "At once" : `After ${duration(each).replace(/ 0 s$/, "")}`,
      ]),
  );
}

/** @param {{ container: Container, phone: boolean }} props */
function AtBoot({ container, phone }) {
  const { containers } = useLive();
  const { name, settings } = container;
  const others = [...(containers?.keys() ?? [])].filter((each) => each !== name).sort();
  const known = [...new Set([...others, ...settings.after])];
  return html`<div class="inset">
    ${
      phone &&
      html`<${Several} label="Wait until" note=${settings.when.length > 1 ? "All of these" : ""} chosen=${settings.when}
        options=${CONDITIONS} change=${(/** @type {string[]} */ when) => setSetting(name, "autostart.when", when)} />`
    }
    ${
      known.length > 0 &&
      html`<${Several} label="Start after" chosen=${settings.after}
        options=${known.map((each) => /** @type {Option} */ ([each, each]))}
        change=${(/** @type {string[]} */ after) => setSetting(name, "autostart.after", after)} />`
    }
    <${Select} id="delay" label="Then start" value=${String(settings.delay)} options=${delayOptions(settings.delay)}
      change=${(/** @type {string} */ value) => setSetting(name, "autostart.delay", Number(value))} />
  </div>`;
}

/** @param {{ container: Container }} props */
export function Starting({ container }) {
  const { guard } = useLive();
  const { name, settings } = container;
  const phone = guard?.active ?? false;
  return html`<section class="card padded" aria-labelledby="starting">
    <h2 id="starting">Starting</h2>
    <${Switch} on=${settings.autostart} label="Start at boot" note=${phone ? "Whenever the phone starts" : "Whenever this machine starts"}
      change=${(/** @type {boolean} */ on) => setSetting(name, "autostart.enabled", on)} />
    ${settings.autostart && html`<${AtBoot} container=${container} phone=${phone} />`}
    <${Select} id="restart" label="Start again" value=${settings.restart} options=${POLICIES}
      change=${(/** @type {string} */ value) => setSetting(name, "restart.policy", value)} />
    ${
      settings.image !== "builtin" &&
      html`<${Switch} on=${settings.boot} label="Run its own init" note="systemd or another service manager, from the next start on"
        change=${(/** @type {boolean} */ on) => setSetting(name, "boot", on)} />`
    }
  </section>`;
}

/** @param {{ container: Container }} props what is of use on a phone only */
export function OnThePhone({ container }) {
  const { guard } = useLive();
  const { name, settings } = container;
  if (!guard?.active) return null;
  return html`<section class="card padded" aria-labelledby="phone">
    <h2 id="phone">On the phone</h2>
    <${Switch} on=${settings.storage !== ""} label="Show the phone's storage" note="Photos, downloads and so on, once the phone is unlocked"
      change=${(/** @type {boolean} */ on) => setSetting(name, "storage", on ? STORAGE : "")} />
    ${
      settings.storage &&
      html`<div class="inset">
        <${TextLine} id="storage" label="Place in the container" value=${settings.storage}
          note="From the next start on" change=${(/** @type {string} */ value) => setSetting(name, "storage", value)} />
      </div>`
    }
    <${Switch} on=${settings.wakeLock} label="Keep the phone awake" note="While it runs. Costs battery."
      change=${(/** @type {boolean} */ on) => setSetting(name, "wake_lock", on)} />
    <${Switch} on=${settings.pausable} label="May be frozen" note="When the phone is hot or its battery low, by the rules of the page Machine"
      change=${(/** @type {boolean} */ on) => setSetting(name, "pausable", on)} />
  </section>`;
}
