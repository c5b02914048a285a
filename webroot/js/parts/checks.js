/** What the kernel offers: what is missing first, with its cost and what to do; the rest folded away. */
import { sentence } from "../format.js";
import { html } from "../html.js";
import { Shape } from "../shape.js";
import { Icon } from "./icons.js";
import { withCommands } from "./problem.js";

/**
 * @typedef {object} Feature
 * @property {string} name
 * @property {boolean | null} have null when it cannot be told
 * @property {string} how
 * @property {string} why
 * @property {string} cost
 * @property {string} hint
 * @property {string} config
 */

/**
 * @param {unknown} value
 * @param {string} path
 * @returns {Feature}
 */
export function parseFeature(value, path) {
  const shape = new Shape(value, path);
  return {
    name: shape.text("name"),
    have: shape.known("have"),
    how: shape.text("how", ""),
    why: shape.text("why", ""),
    cost: shape.text("cost", ""),
    hint: shape.text("hint", ""),
    config: shape.text("config", ""),
  };
}

/**
 * @param {Shape} report
 * @returns {Feature[]} the control groups as features
 */
export function cgroupFeatures(report) {
  const groups = report.object("cgroups");
  const version = groups.number("version") ?? 0;
  const controllers = groups.texts("controllers").join(", ") || "none";
  return [
    {
      name: "control groups",
      have: version > 0,
      how: `version ${version} at ${groups.text("path", "")}, controllers: ${controllers}`,
      why: groups.text("why", ""),
      cost: groups.text("cost", ""),
      hint: groups.text("hint", ""),
      config: "",
    },
    {
      name: "ended at once (cgroup.kill)",
      have: groups.flag("kill", false),
      how: "since Linux 5.14",
      why: version === 2 ? "the kernel is older than 5.14" : "only version 2 of the control groups has it",
      cost: "Containers are ended process by process instead.",
      hint: "",
      config: "",
    },
  ];
}

/** What the kernel's names mean. */
const NAMES = /** @type {Record<string, string>} */ ({
  mnt: "Own mounts",
  pid: "Own processes",
  ipc: "Own messages between processes",
  uts: "Own host name",
  cgroup: "Own view of control groups",
  time: "Own clocks",
  net: "Own network",
  overlay: "Overlay file system",
  fuse: "File systems of programs (FUSE)",
  tun: "Tunnels (VPN)",
  loop: "Disk images (loop)",
  veth: "Virtual network cards",
  nat: "Address translation (NAT)",
  nat6: "Address translation for IPv6",
  bridge: "Bridge between containers",
  "policy routing": "Ways out by container",
  iptables: "Firewall",
  connmark: "Answers by the way they came",
  raw: "Guard of the machine's own services",
  ndc: "Forwarding by Android",
  dnsproxyd: "Names by Android",
  mqueue: "POSIX message queues",
  sysvipc: "System V memory",
  binfmt: "Programs of other processors",
  seccomp: "System call filters",
  zstd: "Archives compressed by zstd",
});

/** @param {{ feature: Feature }} props */
function Missing({ feature }) {
  const { name, have, why, cost, hint, config } = feature;
  const title = NAMES[name];
  return html`<li>
    <span class=${have === null ? "unknown" : "lack"}><${Icon} name="lack" /></span>
    <span>
      ${title ?? sentence(name)}${title && html` <code>${name}</code>`}
      <span class="small ${have === null ? "soft" : "lack"}"> · ${have === null ? "cannot be told" : "missing"}</span>
    </span>
    ${cost && html`<p class="cost">${withCommands(cost)}</p>`}
    ${why && html`<p>${sentence(why)}${config && !why.includes(config) && html`; it needs <code>${config}</code>`}.</p>`}
    ${hint && html`<p><strong>To do:</strong> ${withCommands(hint)}</p>`}
  </li>`;
}

/** @param {{ features: Feature[] }} props */
export function Checks({ features }) {
  const missing = [
    ...features.filter((each) => each.have === false),
    ...features.filter((each) => each.have === null),
  ];
  const there = features.filter((each) => each.have);
  return html`<section class="card padded" aria-labelledby="checks">
    <h2 id="checks">For containers<span class="soft small">${there.length} of ${features.length} there</span></h2>
    ${
      missing.length > 0
        ? html`<ul class="checks">${missing.map((each) => html`<${Missing} key=${each.name} feature=${each} />`)}</ul>`
        : html`<p class="calm"><${Icon} name="check" size=${20} />This kernel has everything.</p>`
    }
    <details class="fold">
      <summary>What is there</summary>
      <ul class="checks close">
        ${there.map(
          ({ name, how }) => html`<li key=${name}>
            <span class="have"><${Icon} name="check" /></span>
            <span>${NAMES[name] ?? sentence(name)}${NAMES[name] && html` <code>${name}</code>`}</span>
            ${how && html`<p>${sentence(how)}</p>`}
          </li>`,
        )}
      </ul>
    </details>
  </section>`;
}
