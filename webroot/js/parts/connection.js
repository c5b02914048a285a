/** A container's place in the network: what it has, why it goes where it goes, and its settings. */
import { setSetting } from "../acts.js";
import { explainContainer } from "../api.js";
import { sentence } from "../format.js";
import { html, useState } from "../html.js";
import { asProblem } from "../problem.js";
import { Button } from "./button.js";
import { Select } from "./choice.js";
import { SavedList, SavedText } from "./fields.js";
import { ProblemBox } from "./problem.js";

/** @typedef {import("../model.js").Container} Container */
/** @typedef {import("./choice.js").Option} Option */

/** @type {readonly Option[]} */
export const MODES = [
  ["host", "The machine's"],
  ["nat", "Its own address"],
  ["none", "None"],
];
/** @type {readonly Option[]} */
const ON_DOWN = [
  ["block", "Nothing leaves"],
  ["fallback", "Another way"],
];
/** @type {readonly Option[]} */
const IPV6 = [
  ["auto", "Automatic"],
  ["proxy", "A global address"],
  ["off", "Off"],
];
const UPLINKS = ["wifi", "mobile", "vpn", "ethernet"];

/** @param {{ container: Container }} props */
function Now({ container }) {
  const { network, state } = container;
  if (!network) return null;
  const { path } = network;
  const addresses = [network.ip4, network.ip6].filter(Boolean).join(", ");
  const tone = path && !path.uplink ? "bad" : undefined;
  return html`<dl class="facts">
    <dt>Address</dt><dd>${addresses || "a free one at its first start"}</dd>
    ${path && state !== "stopped" && html`<dt>Way out</dt><dd class=${tone ? "lack" : ""}>${sentence(path.why)}</dd>`}
  </dl>`;
}

/** @param {{ name: string }} props the story behind the way, loaded when somebody wants it */
function Story({ name }) {
  const [found, setFound] = useState(/** @type {{ story: string[], operations: string[] } | null} */ (null));
  const [problem, setProblem] = useState(/** @type {import("../problem.js").Problem | null} */ (null));
  const load = async () => {
    try {
      setFound(await explainContainer(name));
      setProblem(null);
    } catch (error) {
      setProblem(asProblem(error));
    }
  };
  return html`<details class="fold" onToggle=${(/** @type {Event} */ event) => {
    if (/** @type {HTMLDetailsElement} */ (event.currentTarget).open) load();
  }}>
    <summary>Why it goes there</summary>
    <${ProblemBox} problem=${problem} />
    ${
      found &&
      html`<div class="prose small">${found.story.map((line) => html`<p key=${line}>${line}</p>`)}</div>
        ${
          found.operations.length > 0 &&
          html`<details class="fold"><summary>As commands</summary>
            <pre class="kernel" tabindex="0" aria-label="Commands">${found.operations.join("\n")}</pre></details>`
        }
        <div><${Button} act=${load}>Look again<//></div>`
    }
  </details>`;
}

/** @param {{ container: Container }} props */
function More({ container }) {
  const { name, settings } = container;
  /** @param {string} key */
  const setter = (key) => (/** @type {string | string[]} */ value) => setSetting(name, key, value);
  return html`<details class="fold" open=${settings.portRange.length > 0 || settings.ip !== "" || settings.dns.length > 0}>
    <summary>More</summary>
    <div class="stack">
      <${SavedList} id="port_range" setting="network.port_range" label="Ranges of ports" add="Add" place="5000:5010"
        note="The same ports on both sides, tcp and udp" items=${settings.portRange} change=${setter("network.port_range")} />
      <${SavedText} id="ip" setting="network.ip" label="Fixed address" place=${container.network?.ip4 || "10.11.0.7"}
        note="Empty: a free one, which stays its own" value=${settings.ip} change=${setter("network.ip")} />
      <${SavedList} id="dns" setting="network.dns" label="Name servers" add="Add" place="9.9.9.9"
        note="None: the machine's, which also know the other containers" items=${settings.dns} change=${setter("network.dns")} />
      <${Select} id="ipv6" label="IPv6" value=${settings.ipv6} options=${IPV6} change=${setter("network.ipv6")} />
    </div>
  </details>`;
}

/** @param {{ container: Container }} props */
export function Connection({ container }) {
  const { name, settings, state } = container;
  const running = state !== "stopped";
  /** @param {string} key */
  const setter = (key) => (/** @type {string | string[]} */ value) => setSetting(name, key, value);
  return html`<section class="card padded" aria-labelledby="connection">
    <h2 id="connection">Network</h2>
    <${Select} id="mode" label="Network" value=${settings.network} options=${MODES} change=${setter("network.mode")} />
    ${
      settings.network === "nat" &&
      html`<${Now} container=${container} />
        ${container.network && html`<${Story} name=${name} />`}
        <${SavedList} id="ports" setting="network.ports" label="Ports" add="Add" place="8080:80"
          note="Port of the machine, then of the container; /udp for UDP" items=${settings.ports}
          change=${setter("network.ports")} />
        <${SavedList} id="pin" setting="network.pin" label="Ways out" add="Add" place="wifi" ordered offers=${UPLINKS}
          note=${settings.pin.length ? "The first that is up is taken" : "None: the machine's own choice. An interface, or wifi, mobile, vpn, ethernet."}
          items=${settings.pin} change=${setter("network.pin")} />
        ${
          settings.pin.length > 0 &&
          html`<${Select} id="on_down" label="When none is up" value=${settings.onDown} options=${ON_DOWN}
            change=${setter("network.on_down")} />`
        }
        <${More} container=${container} />`
    }
    ${running && html`<p class="soft small">Changes count from the next start on.</p>`}
  </section>`;
}
