import { createContainer, uploadContainer } from "../api.js";
import { bytes, sentence } from "../format.js";
import { useTitle } from "../frame.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { learnJob, useLive } from "../live.js";
import { Button } from "../parts/button.js";
import { CatalogField } from "../parts/catalog.js";
import { MODES } from "../parts/connection.js";
import { reasonOf } from "../parts/fields.js";
import { Icon } from "../parts/icons.js";
import { Bar, JobView } from "../parts/job.js";
import { ProblemBox } from "../parts/problem.js";
import { KeysField, PasswordField } from "../parts/rootlogin.js";
import { Secret } from "../parts/secret.js";
import { said } from "../parts/toasts.js";
import { asProblem } from "../problem.js";
import { containerLink, go } from "../router.js";

/** @typedef {import("../problem.js").Problem} Problem */
/** @typedef {"builtin" | "distribution" | "registry" | "upload" | "file" | "folder"} Kind */
/** @typedef {import("../parts/rootlogin.js").PasswordChoice} PasswordChoice */

const KINDS = /** @type {const} */ ([
  { kind: "builtin", title: "Built-in", note: "A small busybox system. Nothing to download." },
  {
    kind: "distribution",
    title: "Distribution",
    note: "Debian, Alpine, Ubuntu and others, for this machine.",
  },
  {
    kind: "registry",
    title: "Registry image",
    note: "An OCI image, as for Docker or Podman. It runs its own command.",
  },
  {
    kind: "upload",
    title: "Upload a file",
    note: "A root file system as .tar, .tar.gz or .tar.xz, or a saved image, from this device.",
  },
  { kind: "file", title: "File on the machine", note: "The same, from a file that is already there." },
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

/** @param {{ kind: Kind, set: (kind: Kind) => void, children?: unknown }} props children: below the chosen one */
function Kinds({ kind, set, children }) {
  return html`<fieldset class="field">
    <legend>Root file system</legend>
    <div class="choices">
      ${KINDS.map(
        (each) => html`<label key=${each.kind} class="choice">
            <input type="radio" name="kind" value=${each.kind} checked=${kind === each.kind} onChange=${() => set(each.kind)} />
            <span><strong>${each.title}</strong><span>${each.note}</span></span>
          </label>
          ${kind === each.kind && children && html`<div key="below" class="below">${children}</div>`}`,
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
    <label for="file">File</label>
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

/**
 * @param {{ id: string }} props id: of the job; leads to the container when it is done, and nothing is left to
 * tell before
 */
function Working({ id }) {
  const { jobs } = useLive();
  const [secret, setSecret] = useState("");
  const job = jobs.get(id);
  const more = Boolean(job && (secret || job.secret || job.notes.length > 0));
  useEffect(() => {
    if (job?.state !== "done" || more) return;
    said(`${job.container} created`);
    go(containerLink(job.container));
  }, [job?.state]);
  if (!job) return html`<div class="skeleton block" role="status" aria-label="Loading"></div>`;
  const done = job.state === "done";
  return html`<div class="card padded">
    <${JobView} job=${job} />
    ${done && html`<${Secret} job=${job} secret=${secret} taken=${setSecret} />`}
    ${
      done &&
      job.notes.length > 0 &&
      html`<ul class="notes small soft">${job.notes.map((note) => html`<li key=${note}>${sentence(note)}</li>`)}</ul>`
    }
    ${done && html`<div><a class="button" href=${containerLink(job.container)}>Show ${job.container}</a></div>`}
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
  const [distribution, setDistribution] = useState("");
  const [registry, setRegistry] = useState("");
  const [choice, setChoice] = useState(/** @type {PasswordChoice} */ ("random"));
  const [password, setPassword] = useState("");
  const [keys, setKeys] = useState("");
  const [keep, setKeep] = useState(false);
  const [file, setFile] = useState(/** @type {File | null} */ (null));
  const [start, setStart] = useState(true);
  const [ownInit, setOwnInit] = useState(false);
  const [noInit, setNoInit] = useState(false);
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
  const onMachine = kind === "folder" || kind === "file";
  const fetched = kind === "distribution" || kind === "registry";
  const login = kind === "distribution" || kind === "file";
  const wrongPath = onMachine && !path.startsWith("/") ? "Give an absolute path, such as /data/rootfs." : "";
  const wrongFile = kind === "upload" && !file ? "Choose the file." : "";
  const wrongChoice = kind === "distribution" && !distribution ? "Choose a distribution." : "";
  const wrongImage = kind === "registry" && !registry.trim() ? "Name an image." : "";
  const wrongPassword = login && choice === "own" && !password ? "Type a password." : "";

  const offersInit = kind === "upload" || kind === "file" || kind === "folder";
  /** @type {Record<string, string | boolean | string[]>} */
  const settings = { ...(ownInit && offersInit && { boot: true }) };
  // Without a word of the user's, an image that has an init runs it: here the box tells.
  if (!ownInit && (kind === "upload" || kind === "file")) settings.boot = false;
  if (kind === "distribution" && noInit) settings.boot = false;
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
    if (kind === "folder") return createContainer(name, { kind, path }, { start, settings });
    if (kind !== "builtin") {
      const named = {
        distribution,
        registry: `docker://${registry.trim().replace(/^docker:\/\//, "")}`,
        file: path,
      };
      /** @type {import("../api.js").ImageSource} */
      const source = { kind: "image", reference: named[/** @type {keyof typeof named} */ (kind)] };
      if (login && choice === "own") source.password = password;
      if (login && choice === "locked") source.lock_password = true;
      if (login && keys.trim()) source.ssh_keys = keys;
      if (fetched && keep) source.keep = true;
      return createContainer(name, source, { start, settings });
    }
    return createContainer(name, { kind: "builtin" }, { start, settings });
  };

  const create = async () => {
    setTried(true);
    setWrong(null);
    const first = [
      [wrongName, "name"],
      [wrongPath, "path"],
      [wrongFile, "file"],
      [wrongChoice, "search"],
      [wrongImage, "registry"],
      [wrongPassword, "password"],
    ].find(([text]) => text);
    if (first) {
      document.getElementById(first[1])?.focus();
      return;
    }
    try {
      const made = await begin();
      learnJob(made);
      setJob(made.id);
      setPassword("");
    } catch (error) {
      const problem = asProblem(error);
      if (problem.code !== "cancelled") setWrong(problem);
    } finally {
      setSending(null);
    }
  };

  /** @type {unknown} what the chosen kind asks for */
  let source = null;
  if (kind === "distribution") {
    source = html`<${CatalogField} reference=${distribution} set=${setDistribution} wrong=${tried ? wrongChoice : ""} />`;
  } else if (kind === "registry") {
    source = html`<${TextField} id="registry" label="Image" value=${registry} set=${setRegistry}
      place="docker.io/library/nginx:1.27" note="With its registry and tag, or its digest" wrong=${tried ? wrongImage : ""} />`;
  } else if (kind === "upload") {
    source = html`<${FileField} file=${file} set=${setFile} wrong=${tried ? wrongFile : ""} />`;
  } else if (onMachine) {
    const place = kind === "folder" ? "/data/rootfs" : "/sdcard/Download/rootfs.tar.xz";
    source = html`<${TextField} id="path" label="Path" value=${path} set=${setPath} place=${place} wrong=${tried ? wrongPath : ""} />`;
  }

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
      <${Kinds} kind=${kind} set=${setKind}>
        ${source}
      <//>
      ${
        login &&
        html`<${PasswordField} choice=${choice} choose=${setChoice} password=${password} set=${setPassword} wrong=${tried ? wrongPassword : ""} />
          <${KeysField} keys=${keys} set=${setKeys} />`
      }
      ${
        kind === "distribution" &&
        html`<${Check}
          on=${!noInit}
          set=${(/** @type {boolean} */ on) => setNoInit(!on)}
          label="Run its own init"
          note="systemd or OpenRC starts its services, as on a machine of its own. Without it: a shell."
        />`
      }
      ${fetched && html`<${Check} on=${keep} set=${setKeep} label="Keep the download" note="The next container of the same image needs none." />`}
      ${
        offersInit &&
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
