/** The page inside a root manager: whether the service runs, and the way to its own page. */
import { html, render, useEffect, useState } from "../html.js";
import { rootCommand } from "../manager.js";
import { Button } from "../parts/button.js";
import { Icon } from "../parts/icons.js";
import { ProblemBox } from "../parts/problem.js";
import { Toasts } from "../parts/toasts.js";
import { asProblem, Problem } from "../problem.js";
import { COMMANDS, parseAddress, parseStatus, withoutCodes } from "../shim.js";

/** @typedef {import("../shim.js").Status} Status */

/** Milliseconds between two looks while the service starts, and how many there are. */
const STEP = 300;
const LOOKS = 30;

async function look() {
  const answer = await rootCommand(COMMANDS.status);
  if (answer.status !== 0) {
    throw new Problem("The module cannot be asked", {
      why: lastLine(answer.err || answer.out),
      hint: "Is it installed, and was the phone restarted since?",
    });
  }
  return parseStatus(answer.out);
}

/** @param {string} text */
function lastLine(text) {
  return withoutCodes(text.trim().split("\n").pop() ?? "").slice(0, 300);
}

/** The main frame leaves for the page; the address is shown nowhere and kept nowhere. */
async function open() {
  const answer = await rootCommand(COMMANDS.login);
  const address = answer.status === 0 ? parseAddress(answer.out) : "";
  if (!address) {
    const [what = "", ...hints] = withoutCodes(answer.err || answer.out)
      .trim()
      .split("\n");
    throw new Problem("The page cannot be opened", {
      why: what.replace(/^nspawn: /, ""),
      hint: hints.join(" ").trim(),
    });
  }
  location.replace(address);
}

function ManagerPage() {
  const [status, setStatus] = useState(/** @type {Status | null} */ (null));
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const refresh = async () => {
    try {
      const found = await look();
      setStatus(found);
      setProblem(null);
      return found;
    } catch (error) {
      setProblem(asProblem(error));
      return null;
    }
  };
  useEffect(() => {
    refresh();
  }, []);
  const start = async () => {
    await rootCommand(COMMANDS.start);
    // Only while somebody waits for it.
    for (let looks = 0; looks < LOOKS; looks += 1) {
      await new Promise((resolve) => setTimeout(resolve, STEP));
      if ((await refresh())?.running) return;
    }
    throw new Problem("The service did not start", { hint: "Its last lines are below." });
  };
  const tryOpen = () => open().catch((error) => setProblem(asProblem(error)));
  const off = status?.disabled || status?.removed;
  return html`<main class="login">
    <div>
      <span class="brand"><${Icon} name="mark" size=${34} />nspawn</span>
      <section class="card padded" aria-labelledby="service">
        <h1 id="service" class="shim-title">
          Service
          ${status && html`<span class="state" data-tone=${status.running ? "good" : "still"}>${status.running ? "Running" : "Stopped"}</span>`}
        </h1>
        ${!status && !problem && html`<div class="skeleton long" role="status" aria-label="Loading"></div>`}
        <${ProblemBox} problem=${problem} />
        ${status?.description && html`<p class="soft small">${status.description}</p>`}
        ${off && html`<p class="soft small">The module is ${status?.removed ? "marked for removal" : "disabled"}. Enable it in the manager and restart the phone.</p>`}
        ${status?.updated && html`<p class="soft small">Another version is installed. It counts from the next restart of the phone on.</p>`}
        <div class="buttons wide">
          ${status?.running && html`<${Button} look="main-act" act=${tryOpen}>Open<//>`}
          ${status && !status.running && !off && html`<${Button} look="main-act" act=${start}><${Icon} name="start" size=${18} />Start<//>`}
          <${Button} act=${refresh}>${status ? "Refresh" : "Try again"}<//>
        </div>
      </section>
      ${
        status?.log &&
        html`<details class="card fold" open=${!status.running}>
          <summary>Log</summary>
          <pre class="kernel" tabindex="0" aria-label="The last lines of the service's log">${status.log}</pre>
        </details>`
      }
      ${status?.version && html`<p class="soft small centre">Version ${status.version}</p>`}
    </div>
    <${Toasts} />
  </main>`;
}

export function showManager() {
  const root = document.getElementById("app");
  if (!root) return;
  root.replaceChildren();
  render(html`<${ManagerPage} />`, root);
}
