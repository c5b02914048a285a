import { hostReport } from "../api.js";
import { bytes, duration, sentence } from "../format.js";
import { useTitle } from "../frame.js";
import { html, useEffect, useState } from "../html.js";
import { Button } from "../parts/button.js";
import { Icon } from "../parts/icons.js";
import { ProblemBox, withCommands } from "../parts/problem.js";
import { asProblem } from "../problem.js";
import { setSession } from "../session.js";
import { Shape } from "../shape.js";

/** @typedef {import("../problem.js").Problem} Problem */
/** @typedef {{ name: string, have: boolean | null, why: string, cost: string, hint: string, config: string }} Feature */

/**
 * @param {unknown} value
 * @param {string} path
 * @returns {Feature}
 */
function parseFeature(value, path) {
  const shape = new Shape(value, path);
  return {
    name: shape.text("name"),
    have: shape.known("have"),
    why: shape.text("why", ""),
    cost: shape.text("cost", ""),
    hint: shape.text("hint", ""),
    config: shape.text("config", ""),
  };
}

/** What the kernel's names of namespaces mean. */
const NAMESPACES = /** @type {Record<string, string>} */ ({
  mnt: "Mounts",
  pid: "Processes",
  ipc: "Messages between processes",
  uts: "Host name",
  cgroup: "Control groups",
  time: "Clocks",
  net: "Network",
});

const FEATURES = /** @type {Record<string, string>} */ ({
  overlay: "Overlay file system",
  fuse: "File systems of programs (FUSE)",
  tun: "Tunnels (VPN)",
  veth: "Virtual network cards",
  nat: "Address translation (NAT)",
  mqueue: "POSIX message queues",
  sysvipc: "System V memory",
  binfmt: "Programs of other processors",
  seccomp: "System call filters",
  zstd: "Archives compressed by zstd",
});

/** @param {{ feature: Feature, title?: string }} props title: instead of the name, which then follows it */
function Check({ feature, title = "" }) {
  const { name, have, why, cost, hint, config } = feature;
  const words = have ? "available" : have === null ? "cannot be told" : "missing";
  return html`<li>
    <span class=${have ? "have" : "lack"}><${Icon} name=${have ? "check" : "lack"} /></span>
    <span>
      ${title || sentence(name)}${title && html` <code>${name}</code>`}
      <span class=${have ? "unseen" : "lack small"}>${have ? ` ${words}` : ` · ${words}`}</span>
    </span>
    ${!have && why && html`<p>${sentence(why)}</p>`}
    ${!have && cost && html`<p>${cost}</p>`}
    ${!have && hint && html`<p><strong>To do:</strong> ${withCommands(hint)}</p>`}
    ${!have && !hint && config && html`<p>It needs <code>${config}</code></p>`}
  </li>`;
}

/** @param {{ id: string, title: string, features: Feature[], names?: Record<string, string> }} props */
function Checks({ id, title, features, names = {} }) {
  const missing = features.filter((each) => !each.have);
  const sorted = [...missing, ...features.filter((each) => each.have)];
  return html`<section class="card padded" aria-labelledby=${id}>
    <h2 id=${id}>
      ${title}<span class="soft small">${features.length - missing.length} of ${features.length}</span>
    </h2>
    <ul class="checks">
      ${sorted.map((each) => html`<${Check} key=${each.name} feature=${each} title=${names[each.name]} />`)}
    </ul>
  </section>`;
}

/** @param {{ report: Shape }} props */
function Facts({ report }) {
  const device = report.maybe("device");
  const memory = report.object("memory");
  const disk = report.maybe("disk");
  const versions = report.maybe("versions");
  const pairs = /** @type {[string, string][]} */ ([
    ["Device", device?.text("model", "") ?? ""],
    [
      "System",
      device?.text("release", "") ? `Android ${device.text("release", "")}` : report.text("system", ""),
    ],
    ["Kernel", `${report.text("kernel")} (${report.text("arch")})`],
    ["Root by", device?.text("manager", "") ?? ""],
    ["Memory", space(memory)],
    ["Disk", disk ? space(disk) : ""],
    ["Up for", duration(report.number("uptime") ?? 0)],
    ["nspawn", versions ? `${versions.text("nspawn", "")} on Python ${versions.text("python", "")}` : ""],
  ]);
  return html`<section class="card padded" aria-labelledby="facts">
    <h2 id="facts">This machine</h2>
    <dl class="facts">
      ${pairs.filter(([, value]) => value).map(([key, value]) => html`<dt key=${key}>${key}</dt><dd>${value}</dd>`)}
    </dl>
  </section>`;
}

/** @param {{ report: Shape }} props */
function Cgroups({ report }) {
  const cgroups = report.object("cgroups");
  const version = cgroups.number("version") ?? 0;
  const features = /** @type {Feature[]} */ ([
    {
      name: version ? `Hierarchy of version ${version}` : "hierarchy",
      have: version > 0,
      why: cgroups.text("why", ""),
      cost: cgroups.text("cost", ""),
      hint: cgroups.text("hint", ""),
      config: "",
    },
    {
      name: "ended at once (cgroup.kill)",
      have: cgroups.flag("kill", false),
      why: version === 2 ? "The kernel is older than 5.14." : "Only version 2 has it.",
      cost: "Containers are ended process by process instead.",
      hint: "",
      config: "",
    },
  ]);
  const controllers = cgroups.texts("controllers");
  return html`<section class="card padded" aria-labelledby="cgroups">
    <h2 id="cgroups">Control groups</h2>
    <ul class="checks">
      ${features.map((each) => html`<${Check} key=${each.name} feature=${each} />`)}
    </ul>
    <dl class="facts">
      ${version > 0 && html`<dt>Mounted at</dt><dd class="mono">${cgroups.text("path", "")}</dd>`}
      <dt>Controllers</dt><dd>${controllers.join(", ") || "none"}</dd>
    </dl>
  </section>`;
}

export function HostPage() {
  useTitle("Machine");
  const [report, setReport] = useState(/** @type {Shape | null} */ (null));
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const load = async () => {
    try {
      setReport(await hostReport());
      setProblem(null);
    } catch (error) {
      setProblem(asProblem(error));
    }
  };
  useEffect(() => {
    load();
  }, []);
  return html`<div class="page">
    <div class="page-head">
      <div>
        <h1>Machine</h1>
        <p class="soft small">What it is, and what its kernel offers to containers</p>
      </div>
      <${Button} act=${() => setSession("")}><${Icon} name="out" />Log out<//>
    </div>
    ${problem && html`<${ProblemBox} problem=${problem} /><div><${Button} act=${load}>Try again<//></div>`}
    ${
      !report &&
      !problem &&
      html`<div class="grid" role="status" aria-label="Loading">
        <div class="skeleton block"></div><div class="skeleton block"></div>
      </div>`
    }
    ${
      report &&
      html`<div class="grid">
        <div class="stack">
          <${Facts} report=${report} />
          <${Checks} id="features" title="Features" features=${report.list("features", parseFeature)} names=${FEATURES} />
        </div>
        <div class="stack">
          <${Checks} id="namespaces" title="Namespaces" features=${report.list("namespaces", parseFeature)} names=${NAMESPACES} />
          <${Cgroups} report=${report} />
        </div>
      </div>`
    }
  </div>`;
}

/** @param {Shape} shape with total and available bytes */
function space(shape) {
  return `${bytes(shape.number("available") ?? 0)} free of ${bytes(shape.number("total") ?? 0)}`;
}
