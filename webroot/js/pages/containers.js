import { act } from "../acts.js";
import { duration, imageName, sentence } from "../format.js";
import { useTitle } from "../frame.js";
import { html } from "../html.js";
import { reload, useLive } from "../live.js";
import { Button } from "../parts/button.js";
import { useNow } from "../parts/clock.js";
import { Icon } from "../parts/icons.js";
import { JobView } from "../parts/job.js";
import { ProblemBox } from "../parts/problem.js";
import { endedBadly, StateMark } from "../parts/state.js";
import { containerLink } from "../router.js";

/** @typedef {import("../model.js").Container} Container */

function Skeleton() {
  return html`<div class="card" aria-label="Loading" role="status">
    <ul aria-hidden="true">
      ${[1, 2, 3].map(
        (key) =>
          html`<li class="row" key=${key}><div class="skeleton short"></div><div></div><div class="skeleton long"></div></li>`,
      )}
    </ul>
  </div>`;
}

function Empty() {
  return html`<div class="card empty">
    <${Icon} name="mark" size=${56} />
    <h2>No containers yet</h2>
    <p>The built-in system needs no download and no network: your first container runs in a few seconds.</p>
    <a class="button main-act" href="#/new"><${Icon} name="add" />Create the first container</a>
  </div>`;
}

/** @param {{ container: Container, now: number }} props */
function Row({ container, now }) {
  const { name, state, settings } = container;
  const up = state === "running" || state === "stopping";
  const facts = [imageName(settings.image) || container.rootfs];
  if (up && container.started) facts.push(`up ${duration(now - container.started)}`);
  if (endedBadly(container) && !container.waits) facts.push(container.exit);
  if (settings.autostart && !container.waits) facts.push("starts at boot");
  return html`<li class="row">
    <div class="row-name"><a href=${containerLink(name)}>${name}</a><${StateMark} container=${container} /></div>
    <div class="row-more">${facts.filter(Boolean).map((fact) => html`<span key=${fact}>${fact}</span>`)}</div>
    ${(container.frozen || container.waits) && html`<div class="row-why">${sentence(container.frozen || container.waits)}</div>`}
    <div class="row-acts">
      ${
        state === "stopped"
          ? html`<${Button} act=${() => act(name, "start")} label=${`Start ${name}`}><${Icon} name="start" size=${18} />Start<//>`
          : html`<${Button} act=${() => act(name, "stop")} label=${`Stop ${name}`} disabled=${state === "stopping"}>
              <${Icon} name="stop" size=${18} />Stop
            <//>`
      }
    </div>
  </li>`;
}

export function ContainersPage() {
  useTitle("Containers");
  const { containers, jobs, problem } = useLive();
  const now = useNow();
  const list = containers && [...containers.values()].sort((a, b) => a.name.localeCompare(b.name));
  const working = [...jobs.values()].filter((job) => job.state === "running");
  const running = list?.filter((each) => each.state === "running").length ?? 0;
  return html`<div class="page">
    <div class="page-head">
      <div>
        <h1>Containers</h1>
        ${list && list.length > 0 && html`<p class="soft small">${running} of ${list.length} running</p>`}
      </div>
      ${list && list.length > 0 && html`<a class="button main-act" href="#/new"><${Icon} name="add" />New</a>`}
    </div>
    ${problem && html`<${ProblemBox} problem=${problem} /><div><${Button} act=${reload}>Try again<//></div>`}
    ${working.map((job) => html`<div key=${job.id} class="card padded"><${JobView} job=${job} /></div>`)}
    ${!list && !problem && html`<${Skeleton} />`}
    ${list && list.length === 0 && working.length === 0 && html`<${Empty} />`}
    ${
      list &&
      list.length > 0 &&
      html`<div class="card">
        <ul>
          ${list.map((each) => html`<${Row} key=${each.name} container=${each} now=${now} />`)}
        </ul>
      </div>`
    }
  </div>`;
}
