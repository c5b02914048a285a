import { act, remove } from "../acts.js";
import { duration, imageName, sentence, shorten } from "../format.js";
import { useTitle } from "../frame.js";
import { html, useState } from "../html.js";
import { useLive } from "../live.js";
import { Button } from "../parts/button.js";
import { useNow } from "../parts/clock.js";
import { Connection } from "../parts/connection.js";
import { Console } from "../parts/console.js";
import { Copies } from "../parts/copies.js";
import { Confirm } from "../parts/dialog.js";
import { Icon } from "../parts/icons.js";
import { ProblemBox } from "../parts/problem.js";
import { Secret } from "../parts/secret.js";
import { OnThePhone, Starting } from "../parts/starting.js";
import { endedBadly, StateMark } from "../parts/state.js";
import { go } from "../router.js";

/** @typedef {import("../model.js").Container} Container */

/** @param {{ container: Container }} props */
function Uptime({ container }) {
  const now = useNow();
  const { state, started, exit, restarts } = container;
  const parts = [];
  if (state !== "stopped" && started) parts.push(`Up ${duration(now - started)}`);
  if (state === "stopped" && exit)
    parts.push(endedBadly(container) ? `Ended with ${exit}` : `Ended: ${exit}`);
  if (restarts) parts.push(`restarted ${restarts} times`);
  return html`<p class="soft small">${parts.join(" · ")}</p>
    ${container.waits && html`<p class="waits"><${Icon} name="clock" size=${18} />${sentence(container.waits)}</p>`}
    ${container.frozen && html`<p class="waits"><${Icon} name="pause" size=${18} />Frozen: ${container.frozen}</p>`}`;
}

/** @param {{ container: Container }} props */
function Acts({ container }) {
  const { name, state, frozen } = container;
  const stopped = state === "stopped";
  if (stopped) {
    return html`<div class="buttons">
      <${Button} look="main-act" act=${() => act(name, "start")}>
        <${Icon} name="start" size=${18} />${container.waits ? "Start now" : "Start"}
      <//>
    </div>`;
  }
  return html`<div class="buttons">
    ${
      frozen
        ? html`<${Button} look="main-act" act=${() => act(name, "thaw")}><${Icon} name="start" size=${18} />Thaw<//>`
        : state === "running" &&
          html`<${Button} act=${() => act(name, "freeze")}><${Icon} name="pause" size=${18} />Freeze<//>`
    }
    <${Button} act=${() => act(name, "stop")} disabled=${state === "stopping"}><${Icon} name="stop" size=${18} />Stop<//>
    <${Button} act=${() => act(name, "restart")} disabled=${state === "stopping"}>
      <${Icon} name="restart" size=${18} />Restart
    <//>
    <${Button} look="quiet danger" act=${() => act(name, "kill")} label=${`Kill ${name} at once`}>Kill<//>
  </div>`;
}

/** @param {{ container: Container }} props */
function Summary({ container }) {
  const { settings, pid, rootfs } = container;
  const pairs = /** @type {[string, string][]} */ ([
    ["Image", imageName(settings.image)],
    ["Runs", settings.boot ? "its own init" : shorten(settings.command.join(" "), 120) || "a shell"],
    ["Process", pid ? String(pid) : ""],
    ["Host name", settings.hostname],
    ["User", settings.user],
    ["Folders", settings.binds.join(", ")],
    [
      "Files",
      [settings.readOnly && "read-only", settings.ephemeral && "changes are dropped"]
        .filter(Boolean)
        .join(", "),
    ],
    ["Rootfs", rootfs],
  ]);
  return html`<section class="card padded" aria-labelledby="summary">
    <h2 id="summary">Facts</h2>
    <dl class="facts">
      ${pairs
        .filter(([, value]) => value)
        .map(
          ([key, value]) =>
            html`<dt key=${key}>${key}</dt><dd class=${key === "Rootfs" || key === "Runs" ? "mono" : ""}>${value}</dd>`,
        )}
    </dl>
    <p class="soft small">More with <code>nspawn set ${container.name} key=value</code></p>
  </section>`;
}

/** @param {{ container: Container }} props */
function Delete({ container }) {
  const [asking, setAsking] = useState(false);
  const { name, state, rootfs, settings } = container;
  const stopped = state === "stopped";
  return html`<section class="card padded" aria-labelledby="delete">
    <h2 id="delete">Delete</h2>
    <p class="soft small">${stopped ? "Deletes the container and all its files." : "Stop the container before it can be deleted."}</p>
    <div>
      <${Button} look="danger" act=${() => setAsking(true)} disabled=${!stopped}>Delete this container…<//>
    </div>
    ${
      asking &&
      html`<${Confirm}
        title=${`Delete ${name}?`}
        confirm=${`Delete ${name}`}
        act=${() => remove(name).then(() => go("#/"))}
        close=${() => setAsking(false)}
      >
        ${
          settings.image
            ? "Its files are deleted. This cannot be undone."
            : html`Its settings are deleted. A folder of your own (<code>${rootfs}</code>) is only forgotten, its files stay.`
        }
      <//>`
    }
  </section>`;
}

/** @param {{ name: string }} props the password that came with its image, when nobody has seen it yet */
function Password({ name }) {
  const { jobs } = useLive();
  const [taken, setTaken] = useState({ id: "", secret: "" });
  const job = [...jobs.values()].find(
    (each) => each.container === name && (each.secret || each.id === taken.id),
  );
  if (!job) return null;
  return html`<section class="card padded">
    <${Secret} job=${job} secret=${taken.id === job.id ? taken.secret : ""}
      taken=${(/** @type {string} */ secret) => setTaken({ id: job.id, secret })} />
  </section>`;
}

/** @param {{ name: string }} props */
export function ContainerPage({ name }) {
  useTitle(name);
  const { containers, problem } = useLive();
  const container = containers?.get(name);
  const back = html`<div><a class="back" href="#/"><${Icon} name="back" size=${18} />Containers</a></div>`;
  if (!containers) {
    return html`<div class="page">
      ${back}<h1>${name}</h1>
      ${problem ? html`<${ProblemBox} problem=${problem} />` : html`<div class="skeleton block" role="status" aria-label="Loading"></div>`}
    </div>`;
  }
  if (!container) {
    return html`<div class="page">
      ${back}
      <div class="card empty">
        <h1>There is no ${name}</h1>
        <p>It may have been renamed or deleted.</p>
        <a class="button main-act" href="#/">Show the containers</a>
      </div>
    </div>`;
  }
  return html`<div class="page">
    <div>
      ${back}
      <div class="page-head">
        <div>
          <div class="title"><h1>${name}</h1><${StateMark} container=${container} /></div>
          <${Uptime} container=${container} />
        </div>
        <${Acts} container=${container} />
      </div>
    </div>
    <${ProblemBox} problem=${container.damaged} />
    <${Password} name=${name} />
    <div class="columns">
      <div><${Console} name=${name} running=${container.state !== "stopped"} /></div>
      <div>
        <${Connection} container=${container} />
        <${Starting} container=${container} />
        <${OnThePhone} container=${container} />
        <${Summary} container=${container} />
        <${Copies} container=${container} />
        <${Delete} container=${container} />
      </div>
    </div>
  </div>`;
}
