import { networkStatus, takeNetworkDown } from "../api.js";
import { sentence } from "../format.js";
import { useTitle } from "../frame.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { useLive } from "../live.js";
import { KINDS } from "../network.js";
import { Button } from "../parts/button.js";
import { Confirm } from "../parts/dialog.js";
import { Icon } from "../parts/icons.js";
import { NetworkMap } from "../parts/map.js";
import { ProblemBox, withCommands } from "../parts/problem.js";
import { said } from "../parts/toasts.js";
import { asProblem } from "../problem.js";
import { containerLink } from "../router.js";

/** @typedef {import("../network.js").Network} Network */
/** @typedef {import("../problem.js").Problem} Problem */

/** Milliseconds between two looks while one change follows the other. */
const PACE = 400;

/** @returns {{ network: Network | null, problem: Problem | null, load: () => Promise<void> }} as it is now */
function useNetwork() {
  const { changes, containers } = useLive();
  const [network, setNetwork] = useState(/** @type {Network | null} */ (null));
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const asking = useRef(false);
  const again = useRef(false);
  const load = async () => {
    again.current = true;
    if (asking.current) return;
    asking.current = true;
    try {
      while (again.current) {
        again.current = false;
        setNetwork(await networkStatus());
        setProblem(null);
        if (again.current) await new Promise((resolve) => setTimeout(resolve, PACE));
      }
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      asking.current = false;
    }
  };
  useEffect(() => {
    load();
  }, [changes, containers]);
  return { network, problem, load };
}

/** @param {{ network: Network }} props */
function Ways({ network }) {
  const running = network.members.filter((each) => each.running);
  return html`<section class="card padded" aria-labelledby="ways">
    <h2 id="ways">Who goes where</h2>
    <${NetworkMap} network=${network} />
    ${
      running.length > 0 &&
      html`<details class="fold">
        <summary>Why</summary>
        <ul class="checks">
          ${running.map(
            (each) => html`<li key=${each.owner}>
              <span class=${each.path.uplink ? "have" : "lack"}><${Icon} name=${each.path.uplink ? "next" : "close"} /></span>
              <span>${each.name ? html`<a href=${containerLink(each.name)}>${each.name}</a>` : each.owner}</span>
              <p>${sentence(each.path.why)}.</p>
            </li>`,
          )}
        </ul>
      </details>`
    }
  </section>`;
}

/** @param {{ network: Network }} props */
function Uplinks({ network }) {
  return html`<section class="card padded" aria-labelledby="uplinks">
    <h2 id="uplinks">Uplinks</h2>
    ${network.uplinks.length === 0 && html`<p class="soft">Nothing leads to the internet now.</p>`}
    <ul class="checks">
      ${network.uplinks.map((each) => {
        const families = [each.ip4 && "IPv4", each.ip6 && "IPv6"].filter(Boolean).join(" and ");
        const facts = [
          KINDS[each.kind],
          families,
          each.standard && "the default",
          each.tables && `table ${each.tables}`,
        ];
        return html`<li key=${each.name}>
          <span class=${each.state === "up" ? "have" : "lack"}><${Icon} name=${each.kind} /></span>
          <span class="spread"><span class="mono">${each.name}</span>
            <span class="state" data-tone=${each.state === "up" ? "good" : "wait"} data-still>${sentence(each.state)}</span></span>
          <p>${facts.filter(Boolean).join(" · ")}</p>
          ${each.why && html`<p>${sentence(each.why)}.</p>`}
        </li>`;
      })}
    </ul>
    ${
      network.excluded.length > 0 &&
      html`<details class="fold">
        <summary>What is no uplink</summary>
        <ul class="checks close">
          ${network.excluded.map(
            (each) => html`<li key=${each.name}>
              <span class="unknown"><${Icon} name="close" /></span>
              <span class="mono">${each.name}</span>
              <p>${sentence(each.why)}.</p>
            </li>`,
          )}
        </ul>
      </details>`
    }
  </section>`;
}

/** @param {{ network: Network }} props */
function Ports({ network }) {
  const all = network.members
    .filter((each) => each.running)
    .flatMap((each) => each.forwards.map((forward) => ({ ...forward, owner: each.owner, name: each.name })));
  if (all.length === 0) return null;
  return html`<section class="card padded" aria-labelledby="ports">
    <h2 id="ports">Ports that lead in</h2>
    <ul class="checks">
      ${all.map(
        (each) => html`<li key=${each.text}>
          <span class=${each.warning ? "lack" : "have"}><${Icon} name=${each.warning ? "lack" : "in"} /></span>
          <span><span class="mono">${each.from}</span> to ${
            each.name ? html`<a href=${containerLink(each.name)}>${each.name}</a>` : each.owner
          }, port <span class="mono">${each.to}</span></span>
          ${each.warning && html`<p>${sentence(each.warning)}.</p>`}
        </li>`,
      )}
    </ul>
  </section>`;
}

/** @param {{ network: Network, load: () => Promise<void> }} props */
function Itself({ network, load }) {
  const [asking, setAsking] = useState(false);
  const users = network.members.filter((each) => each.running);
  const pairs = /** @type {[string, string][]} */ ([
    ["State", network.up ? "up" : "down; it comes with the first container that needs it"],
    ["Bridge", network.bridge || "none: each container is connected by itself"],
    ["Addresses", [network.ip4, network.ip6].filter(Boolean).join(", ")],
    ["Given away", `${network.used} of ${network.room}`],
    ["IPv6", `${network.ipv6.mode}: ${network.ipv6.why}`],
    ["Names", `asked at ${network.gateway}`],
    ["No pin", network.free.why],
  ]);
  const down = async () => {
    await takeNetworkDown(users.length > 0);
    said("The network is down");
    await load();
  };
  return html`<section class="card padded" aria-labelledby="itself">
    <h2 id="itself">The containers' network</h2>
    <dl class="facts">${pairs.map(([key, value]) => html`<dt key=${key}>${key}</dt><dd>${value}</dd>`)}</dl>
    ${network.up && html`<div><${Button} look="danger" act=${() => setAsking(true)}>Take it down…<//></div>`}
    ${
      asking &&
      html`<${Confirm} title="Take the network down?" confirm="Take it down" act=${down} close=${() => setAsking(false)}>
        ${
          users.length > 0
            ? `${users.map((each) => each.owner).join(", ")} ${users.length > 1 ? "are" : "is"} cut off until the next start.`
            : "Nobody uses it. It comes again with the next container that needs it."
        }
      <//>`
    }
  </section>`;
}

/** @param {{ notes: import("../network.js").Note[] }} props */
function Notes({ notes }) {
  return notes.map(
    (note) => html`<div key=${note.what} class="problem" data-tone="wait" role="note">
      <strong>${sentence(note.what)}</strong>
      ${note.why && html`<span>${sentence(note.why)}.</span>`}
      ${note.hint && html`<span class="soft">${withCommands(note.hint)}</span>`}
    </div>`,
  );
}

export function NetworkPage() {
  useTitle("Network");
  const { network, problem, load } = useNetwork();
  return html`<div class="page">
    <div class="page-head"><h1>Network</h1></div>
    ${problem && html`<${ProblemBox} problem=${problem} /><div><${Button} act=${load}>Try again<//></div>`}
    ${!network && !problem && html`<div class="skeleton block" role="status" aria-label="Loading"></div>`}
    ${
      network &&
      html`<${Notes} notes=${network.notes} />
        <${Ways} network=${network} />
        <div class="grid">
          <div class="stack"><${Uplinks} network=${network} /></div>
          <div class="stack"><${Ports} network=${network} /><${Itself} network=${network} load=${load} /></div>
        </div>`
    }
  </div>`;
}
