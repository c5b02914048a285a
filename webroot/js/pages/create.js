import { createContainer, uploadContainer } from "../api.js";
import { bytes } from "../format.js";
import { useTitle } from "../frame.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { learnJob, useLive } from "../live.js";
import { Button } from "../parts/button.js";
import { MODES } from "../parts/connection.js";
import { reasonOf } from "../parts/fields.js";
import { Icon } from "../parts/icons.js";
import { Bar, JobView } from "../parts/job.js";
import { ProblemBox } from "../parts/problem.js";
import { said } from "../parts/toasts.js";
import { asProblem } from "../problem.js";
import { containerLink, go } from "../router.js";

/** @typedef {import("../problem.js").Problem} Problem */
/** @typedef {"builtin" | "upload" | "tarball" | "folder"} Kind */

const KINDS = /** @type {const} */ ([
  { kind: "builtin", title: "Built-in", note: "A small busybox system. Nothing to download." },
  {
    kind: "upload",
    title: "Upload a tarball",
    note: "A root file system as .tar, .tar.gz or .tar.xz from this device.",
  },
  { kind: "tarball", title: "Tarball on the machine", note: "A file that is already there." },
  {
    kind: "folder",
    title: "Folder on the machine",
    note: "Used where it is. It stays yours when the container is deleted.",
  },
]);

const NAME = /^[a-z0-9][a-z0-9_.-]{0,62}$/;
const NAME_RULE = "1 to 63 of a-z, 0-9, '_', '.' and '-', beginning with a letter or digit.";

const MODE_NOTES = /** @type {Record<string, string>} */ ({
  host: "It sees and uses what the machine has.",
  nat: "It is behind the machine, with ports and ways out of its own.",
  none: "It reaches only itself.",
});

/**
 * @param {string} name
 * @param {ReadonlyMap<string, unknown> | null} known
 * @returns {string} what is wrong with it, or an empty text
 */
export function nameProblem(name, known) {
  if (!name) return "Give it a name.";
  if (!NAME.test(name)) return NAME_RULE;
  if (known?.has(name)) return `There is a container ${name} already.`;
  return "";
}

/**
 * @param {{ id: string, label: string, value: string, set: (value: string) => void, note?: string, wrong?: string, place?: string }} props
 */
function TextField({ id, label, value, set, note = "", wrong = "", place = "" }) {
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <input
      id=${id}
      type="text"
      class="mono"
      value=${value}
      placeholder=${place}
      autocomplete="off"
      autocapitalize="none"
      spellcheck=${false}
      aria-invalid=${wrong ? "true" : undefined}
      aria-describedby=${`${id}-note`}
      onInput=${(/** @type {InputEvent} */ event) => set(/** @type {HTMLInputElement} */ (event.target).value)}
    />
    <p id=${`${id}-note`} class=${wrong ? "wrong" : "note"} aria-live="polite">${wrong || note}</p>
  </div>`;
}

/** @param {{ kind: Kind, set: (kind: Kind) => void }} props */
function Kinds({ kind, set }) {
  return html`<fieldset class="field">
    <legend>Root file system</legend>
    <div class="choices">
      ${KINDS.map(
        (each) => html`<label key=${each.kind} class="choice">
          <input type="radio" name="kind" value=${each.kind} checked=${kind === each.kind} onChange=${() => set(each.kind)} />
          <span><strong>${each.title}</strong><span>${each.note}</span></span>
        </label>`,
      )}
    </div>
  </fieldset>`;
}

/** @param {{ mode: string, set: (mode: string) => void }} props */
function NetworkField({ mode, set }) {
  return html`<div class="field">
    <label for="mode">Network</label>
    <select id="mode" aria-describedby="mode-note"
      onChange=${(/** @type {Event} */ event) => set(/** @type {HTMLSelectElement} */ (event.currentTarget).value)}>
      ${MODES.map(([value, text]) => html`<option key=${value} value=${value} selected=${value === mode}>${text}</option>`)}
    </select>
    <p id="mode-note" class="note">${MODE_NOTES[mode]}</p>
  </div>`;
}

/** @param {{ on: boolean, set: (on: boolean) => void, label: string, note?: string }} props */
function Check({ on, set, label, note }) {
  return html`<label class="choice">
    <input type="checkbox" checked=${on} onChange=${(/** @type {Event} */ event) => set(/** @type {HTMLInputElement} */ (event.target).checked)} />
    <span><strong>${label}</strong>${note && html`<span>${note}</span>`}</span>
  </label>`;
}

/** @param {{ file: File | null, set: (file: File | null) => void, wrong: string }} props */
function FileField({ file, set, wrong }) {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  return html`<div class="field">
    <label for="file">Tarball</label>
    <div class="pick">
      <input
        ref=${input}
        id="file"
        type="file"
        class="unseen"
        tabindex="-1"
        accept=".tar,.gz,.tgz,.xz,.txz,.bz2,.zst"
        onChange=${(/** @type {Event} */ event) => set(/** @type {HTMLInputElement} */ (event.target).files?.[0] ?? null)}
      />
      <${Button} act=${() => input.current?.click()}>Choose a file<//>
      <span class="mono small">${file ? `${file.name} (${bytes(file.size)})` : "No file chosen"}</span>
    </div>
    ${wrong && html`<p class="wrong" role="alert">${wrong}</p>`}
  </div>`;
}

/** @param {{ id: string }} props id: of the job; leads to the container when it is done */
function Working({ id }) {
  const { jobs } = useLive();
  const job = jobs.get(id);
  useEffect(() => {
    if (job?.state !== "done") return;
    said(`${job.container} created`);
    go(containerLink(job.container));
  }, [job?.state]);
  if (!job) return html`<div class="skeleton block" role="status" aria-label="Loading"></div>`;
  return html`<div class="card padded">
    <${JobView} job=${job} />
    ${job.state === "done" && html`<div><a class="button" href=${containerLink(job.container)}>Show ${job.container}</a></div>`}
  </div>`;
}

/** @param {{ name: string, sent: number, total: number, cancel: () => void }} props */
function Uploading({ name, sent, total, cancel }) {
  return html`<div class="card padded">
    <div class="job">
      <div class="job-head">
        <div><strong>${name}</strong><div class="small soft">Sending the file</div></div>
        <${Button} act=${cancel} label="Cancel the upload">Cancel<//>
      </div>
      <${Bar} done=${sent} total=${total} label="Progress of the upload" />
      <div class="small soft">${bytes(sent)} of ${bytes(total)}</div>
    </div>
  </div>`;
}

export function CreatePage() {
  useTitle("New container");
  const { containers } = useLive();
  const [name, setName] = useState("");
  const [kind, setKind] = useState(/** @type {Kind} */ ("builtin"));
  const [path, setPath] = useState("");
  const [file, setFile] = useState(/** @type {File | null} */ (null));
  const [start, setStart] = useState(true);
  const [ownInit, setOwnInit] = useState(false);
  const [network, setNetwork] = useState("host");
  const [ports, setPorts] = useState("");
  const [tried, setTried] = useState(false);
  const [wrong, setWrong] = useState(/** @type {Problem | null} */ (null));
  const [job, setJob] = useState("");
  const [sending, setSending] = useState(
    /** @type {{ sent: number, abort: AbortController } | null} */ (null),
  );
  const { jobs } = useLive();
  const state = jobs.get(job)?.state;

  const wrongName = nameProblem(name, containers);
  const onMachine = kind === "folder" || kind === "tarball";
  const wrongPath = onMachine && !path.startsWith("/") ? "Give an absolute path, such as /data/rootfs." : "";
  const wrongFile = kind === "upload" && !file ? "Choose the file." : "";

  /** @type {Record<string, string | boolean | string[]>} */
  const settings = { ...(ownInit && kind !== "builtin" && { boot: true }) };
  if (network !== "host") settings["network.mode"] = network;
  const wanted = ports.split(/[\s,]+/).filter(Boolean);
  if (network === "nat" && wanted.length > 0) settings["network.ports"] = wanted;
  const wrongPorts = wrong?.what.toLowerCase().startsWith("network.ports")
    ? reasonOf(wrong, "network.ports")
    : "";

  const begin = () => {
    if (kind === "upload" && file) {
      const abort = new AbortController();
      setSending({ sent: 0, abort });
      const onProgress = (/** @type {number} */ sent) => setSending({ sent, abort });
      return uploadContainer(name, file, { start, settings }, { onProgress, signal: abort.signal });
    }
    if (kind === "folder" || kind === "tarball")
      return createContainer(name, { kind, path }, { start, settings });
    return createContainer(name, { kind: "builtin" }, { start, settings });
  };

  const create = async () => {
    setTried(true);
    setWrong(null);
    if (wrongName || wrongPath || wrongFile) {
      document.getElementById(wrongName ? "name" : wrongPath ? "path" : "file")?.focus();
      return;
    }
    try {
      const made = await begin();
      learnJob(made);
      setJob(made.id);
    } catch (error) {
      const problem = asProblem(error);
      if (problem.code !== "cancelled") setWrong(problem);
    } finally {
      setSending(null);
    }
  };

  if (sending) {
    return html`<div class="page narrow">
      <h1>New container</h1>
      <${Uploading} name=${name} sent=${sending.sent} total=${file?.size ?? 1} cancel=${() => sending.abort.abort()} />
    </div>`;
  }
  if (job && state !== "cancelled" && state !== "failed") {
    return html`<div class="page narrow"><h1>New container</h1><${Working} id=${job} /></div>`;
  }
  return html`<div class="page narrow">
    <h1>New container</h1>
    ${state === "failed" && html`<${ProblemBox} problem=${jobs.get(job)?.error ?? null} />`}
    <${ProblemBox} problem=${wrongPorts ? null : wrong} />
    <form
      class="card padded"
      noValidate
      onSubmit=${(/** @type {SubmitEvent} */ event) => {
        event.preventDefault();
        create();
      }}
    >
      <${TextField}
        id="name"
        label="Name"
        value=${name}
        set=${setName}
        place="web"
        note="Small letters, digits, '-', '_' and '.'"
        wrong=${tried || (name && !NAME.test(name)) ? wrongName : ""}
      />
      <${Kinds} kind=${kind} set=${setKind} />
      ${onMachine && html`<${TextField} id="path" label="Path" value=${path} set=${setPath} place=${kind === "folder" ? "/data/rootfs" : "/sdcard/Download/rootfs.tar.xz"} wrong=${tried ? wrongPath : ""} />`}
      ${kind === "upload" && html`<${FileField} file=${file} set=${setFile} wrong=${tried ? wrongFile : ""} />`}
      ${
        kind !== "builtin" &&
        html`<${Check}
          on=${ownInit}
          set=${setOwnInit}
          label="Run its own init"
          note="systemd or another service manager starts, as on a machine of its own. Without it: a shell."
        />`
      }
      <${NetworkField} mode=${network} set=${setNetwork} />
      ${
        network === "nat" &&
        html`<${TextField} id="ports" label="Ports" value=${ports} set=${setPorts} place="8080:80, 5353:53/udp"
          note="Port of the machine, then of the container. They lead in from everywhere." wrong=${wrongPorts} />`
      }
      <${Check} on=${start} set=${setStart} label="Start it when it is ready" />
      <div class="buttons">
        <button type="submit" class="button main-act"><${Icon} name="add" />Create</button>
        <a class="button quiet" href="#/">Cancel</a>
      </div>
    </form>
  </div>`;
}
