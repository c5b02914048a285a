/** Copies of a container: one beside it, and archives of it. */
import { cloneContainer, exportContainer } from "../api.js";
import { saveExport, useDownload } from "../downloads.js";
import { bytes } from "../format.js";
import { html, useState } from "../html.js";
import { learnJob, useLive } from "../live.js";
import { misspelt, nameProblem } from "../names.js";
import { asProblem, Problem } from "../problem.js";
import { Button } from "./button.js";
import { reasonOf } from "./fields.js";
import { Icon } from "./icons.js";
import { Check, TextField } from "./inputs.js";
import { Bar, JobView } from "./job.js";
import { Notes, Working } from "./working.js";

/** @typedef {import("../model.js").Container} Container */
/** @typedef {import("../model.js").Job} Job */

/**
 * A form that begins a job; what is refused is told below its field.
 * @param {{ ask: () => Promise<Job>, begun: (id: string) => void, refused: (why: string) => void, children?: unknown }} props
 */
function JobForm({ ask, begun, refused, children }) {
  const [busy, setBusy] = useState(false);
  const send = async () => {
    if (busy) return;
    setBusy(true);
    try {
      const job = await ask();
      learnJob(job);
      begun(job.id);
    } catch (error) {
      refused(reasonOf(asProblem(error), ""));
    } finally {
      setBusy(false);
    }
  };
  return html`<form class="stack" noValidate onSubmit=${(/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    send();
  }}>${children}</form>`;
}

/** @param {{ name: string }} props */
function Clone({ name }) {
  const { containers, jobs } = useLive();
  const [copy, setCopy] = useState("");
  const [start, setStart] = useState(false);
  const [id, setId] = useState("");
  const [wrong, setWrong] = useState("");
  const job = jobs.get(id);
  if (job && (job.state === "running" || job.state === "done")) return html`<${Working} id=${id} />`;
  const ask = async () => {
    const problem = nameProblem(copy, containers);
    if (problem) throw new Problem(problem);
    return cloneContainer(name, { name: copy, start });
  };
  return html`${job && html`<${JobView} job=${job} />`}
    <${JobForm} ask=${ask} begun=${setId} refused=${setWrong}>
      <${TextField} id="copy" label="Name of the copy" value=${copy} place=${`${name}2`} wrong=${wrong || misspelt(copy)}
        set=${(/** @type {string} */ text) => {
          setCopy(text);
          setWrong("");
        }} />
      <${Check} on=${start} set=${setStart} label="Start it when it is ready" />
      <div><button type="submit" class="button">Make the copy</button></div>
    <//>`;
}

/** @param {{ name: string }} props */
function Download({ name }) {
  const running = useDownload(name);
  if (!running) {
    return html`<div class="wide">
      <${Button} act=${() => saveExport(name)}><${Icon} name="down" size=${18} />Download as an archive<//>
    </div>`;
  }
  return html`<div class="job">
    <div class="job-head">
      <div><strong>Archive of ${name}</strong><div class="small soft">Downloading</div></div>
      <${Button} act=${running.cancel} label="Cancel the download">Cancel<//>
    </div>
    <${Bar} done=${0} total=${null} label="Progress of the download" />
    <div class="small soft">${bytes(running.got)}</div>
  </div>`;
}

/** @param {{ name: string }} props */
function IntoFile({ name }) {
  const { jobs, guard } = useLive();
  const [path, setPath] = useState("");
  const [force, setForce] = useState(false);
  const [wrong, setWrong] = useState("");
  const [id, setId] = useState("");
  // Of a page that was left meanwhile, too.
  const running = [...jobs.values()].find(
    (each) => each.kind === "export" && each.container === name && each.state === "running",
  );
  const job = running ?? jobs.get(id);
  const place = `${guard?.active ? "/sdcard/Download" : "/srv"}/${name}.tar.xz`;
  if (job?.state === "running") return html`<${JobView} job=${job} />`;
  const done = job?.state === "done" ? job.result : null;
  return html`${job && html`<${JobView} job=${job} />`}
    ${
      done &&
      html`<p class="small breakable">
          <span class="mono">${done.text("path", "")}</span> is written: ${bytes(done.number("size") ?? 0)}.
        </p>
        <${Notes} notes=${job?.notes ?? []} />`
    }
    <${JobForm} ask=${() => exportContainer(name, { path: path.trim(), force })} begun=${setId} refused=${setWrong}>
      <${TextField} id="target" label="File on the machine" value=${path} place=${place} wrong=${wrong}
        note="Its ending chooses: .tar.zst, .tar.xz or .tar"
        set=${(/** @type {string} */ text) => {
          setPath(text);
          setWrong("");
        }} />
      <${Check} on=${force} set=${setForce} label="Replace a file that is there" />
      <div><button type="submit" class="button">Write the archive</button></div>
    <//>`;
}

/** @param {{ container: Container }} props */
export function Copies({ container }) {
  const { name, state } = container;
  return html`<section class="card padded" aria-labelledby="copies">
    <h2 id="copies">Copies</h2>
    <p class="soft small">
      An archive holds its files and settings, passwords too. The page New makes a container of it again.
      ${state !== "stopped" && " While the copy is made, the container is frozen; then it goes on."}
    </p>
    <${Download} name=${name} />
    <div>
      <details class="fold"><summary>Clone: a copy beside it</summary><div class="stack"><${Clone} name=${name} /></div></details>
      <details class="fold"><summary>Write the archive into a file</summary><div class="stack"><${IntoFile} name=${name} /></div></details>
    </div>
  </section>`;
}
