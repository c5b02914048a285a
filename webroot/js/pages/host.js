import { readings as fetchReadings, hostReport } from "../api.js";
import { bytes, duration } from "../format.js";
import { useTitle } from "../frame.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { useLive } from "../live.js";
import { Button } from "../parts/button.js";
import { Checks, cgroupFeatures, parseFeature } from "../parts/checks.js";
import { Icon } from "../parts/icons.js";
import { ProblemBox } from "../parts/problem.js";
import { History, Tiles } from "../parts/tiles.js";
import { asProblem } from "../problem.js";
import { parseReadings, sensors } from "../readings.js";
import { setSession } from "../session.js";
import { NeverUsed } from "./guard.js";

/** @typedef {import("../problem.js").Problem} Problem */
/** @typedef {import("../shape.js").Shape} Shape */

/** Milliseconds between two readings, while somebody looks at them: nothing is read for a hidden page. */
const PACE = 5000;
const history = new History();

/** @param {Shape} report */
function deviceFacts(report) {
  const device = report.maybe("device");
  const versions = report.maybe("versions");
  /** @param {string} key */
  const text = (key) => device?.text(key, "") ?? "";
  const release = text("release");
  const patch = text("patch") && `, patch of ${text("patch")}`;
  const tells = report.known("config") === false ? ", does not tell its configuration" : "";
  return /** @type {[string, string][]} */ ([
    ["Device", text("model")],
    ["Chip", text("soc")],
    ["System", release ? `Android ${release} (SDK ${text("sdk")})${patch}` : report.text("system", "")],
    ["Kernel", `${report.text("kernel")} (${report.text("arch")})${tells}`],
    ["Root by", `${text("manager")} ${text("manager_version")}`.trim()],
    ["SELinux", [text("selinux"), text("context")].filter(Boolean).join(", ")],
    ["Seccomp", text("seccomp") === "none" ? "no filter" : text("seccomp")],
    ["Memory", space(report.object("memory"))],
    ["Disk", report.maybe("disk") ? space(report.object("disk")) : ""],
    ["Up for", duration(report.number("uptime") ?? 0)],
    ["nspawn", versions ? `${versions.text("nspawn", "")} on Python ${versions.text("python", "")}` : ""],
  ]);
}

/** @param {{ pairs: [string, string][] }} props */
function Pairs({ pairs }) {
  return html`<dl class="facts">
    ${pairs.filter(([, value]) => value).map(([key, value]) => html`<dt key=${key}>${key}</dt><dd>${value}</dd>`)}
  </dl>`;
}

/** @param {{ report: Shape }} props */
function Facts({ report }) {
  const tools = /** @type {[string, string][]} */ (
    (report.maybe("device")?.maybe("programs")?.entries() ?? []).map(([name, value]) => [
      name,
      String(value) || "missing",
    ])
  );
  return html`<section class="card padded" aria-labelledby="facts">
    <h2 id="facts">This machine</h2>
    <${Pairs} pairs=${deviceFacts(report)} />
    ${
      tools.length > 0 &&
      html`<details class="fold"><summary>Its own tools</summary><${Pairs} pairs=${tools} /></details>`
    }
  </section>`;
}

/** @param {{ power: Shape | null }} props the rules, in words */
function Rules({ power }) {
  const rules = power?.maybe("rules");
  if (!rules) return null;
  /** @param {string} key */
  const number = (key) => rules.number(key) ?? 0;
  const hot = number("freeze_above");
  const low = number("freeze_below_charge");
  const heat = hot ? `above ${hot} °C of the battery, until it is below ${number("thaw_below")} °C` : "";
  const charge = low
    ? `below ${low} % of the charge, until it is above ${number("thaw_above_charge")} %`
    : "";
  const all = sensors(power).slice(1);
  return html`<section class="card padded" aria-labelledby="rules">
    <h2 id="rules">Freezing</h2>
    ${power?.text("problem", "") && html`<p class="problem">${power.text("problem", "")}</p>`}
    <p class="soft small">Containers that may be frozen are frozen by these rules, and go on by themselves:</p>
    <${Pairs} pairs=${
      /** @type {[string, string][]} */ ([
        ["Heat", heat || "no rule"],
        ["Battery", charge || "no rule"],
      ])
    } />
    <p class="soft small">The rules are in the table <code>[power]</code> of <code>config.toml</code>.</p>
    ${
      all.length > 0 &&
      html`<details class="fold">
        <summary>Other temperatures</summary>
        <${Pairs} pairs=${/** @type {[string, string][]} */ (all.map(({ name, celsius }) => [name, `${celsius.toFixed(1)} °C`]))} />
      </details>`
    }
  </section>`;
}

/** Read now and then, as long as this page is seen.  @returns {Shape | null} */
function useReadings() {
  const [found, setFound] = useState(/** @type {Shape | null} */ (null));
  const asking = useRef(false);
  useEffect(() => {
    const read = async () => {
      if (document.hidden || asking.current) return;
      asking.current = true;
      try {
        const next = await fetchReadings();
        history.add(parseReadings(next));
        setFound(next);
      } catch {
        // The mark at the page's head tells that the server is away; the last readings stay.
      } finally {
        asking.current = false;
      }
    };
    read();
    const timer = setInterval(read, PACE);
    document.addEventListener("visibilitychange", read);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", read);
    };
  }, []);
  return found;
}

export function HostPage() {
  useTitle("Machine");
  const { guard } = useLive();
  const now = useReadings();
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
  const features = report && [
    ...report.list("namespaces", parseFeature),
    ...cgroupFeatures(report),
    ...report.list("features", parseFeature),
  ];
  return html`<div class="page">
    <div class="page-head">
      <h1>Machine</h1>
      <${Button} act=${() => setSession("")}><${Icon} name="out" />Log out<//>
    </div>
    ${problem && html`<${ProblemBox} problem=${problem} /><div><${Button} act=${load}>Try again<//></div>`}
    ${now && html`<${Tiles} readings=${parseReadings(now)} history=${history} />`}
    ${
      !report &&
      !problem &&
      html`<div class="grid" role="status" aria-label="Loading">
        <div class="skeleton block"></div><div class="skeleton block"></div>
      </div>`
    }
    ${
      report &&
      features &&
      html`<div class="grid">
        <div class="stack">
          <${Checks} features=${features} />
          ${guard && html`<${NeverUsed} guard=${guard} />`}
        </div>
        <div class="stack">
          <${Facts} report=${report} />
          <${Rules} power=${(now ?? report).maybe("power")} />
          <a class="card padded rowlink" href="#/images">
            <${Icon} name="down" size=${24} />
            <span>Kept images<span class="note">downloads for the next containers</span></span>
            <${Icon} name="next" size=${20} />
          </a>
          ${
            guard?.active &&
            html`<a class="card padded rowlink" href="#/guard">
              <${Icon} name="shield" size=${24} />
              <span>Crash guard<span class="note">${guard.blocked ? "holds the containers back" : "nothing happened"}</span></span>
              <${Icon} name="next" size=${20} />
            </a>`
          }
        </div>
      </div>`
    }
  </div>`;
}

/** @param {Shape} shape with total and available bytes */
function space(shape) {
  return `${bytes(shape.number("available") ?? 0)} free of ${bytes(shape.number("total") ?? 0)}`;
}
