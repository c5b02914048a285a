import { createContainer, importContainer, uploadContainer } from "../api.js";
import { useTitle } from "../frame.js";
import { html, useState } from "../html.js";
import { learnJob, useLive } from "../live.js";
import { nameOfArchive } from "../names.js";
import { EMPTY, offersOf, settingsOf, sourceOf, wrongsOf } from "../order.js";
import { CatalogField } from "../parts/catalog.js";
import { reasonOf } from "../parts/fields.js";
import { Icon } from "../parts/icons.js";
import { Check, FileField, TextField } from "../parts/inputs.js";
import { Kinds, NetworkField } from "../parts/kinds.js";
import { ProblemBox } from "../parts/problem.js";
import { KeysField, PasswordField } from "../parts/rootlogin.js";
import { Uploading, Working } from "../parts/working.js";
import { asProblem } from "../problem.js";

/** @typedef {import("../order.js").Order} Order */
/** @typedef {import("../problem.js").Problem} Problem */
/** @typedef {{ order: Order, wrongs: Record<string, string>, set: (change: Partial<Order>) => void }} FieldsOf */

/**
 * @template {keyof Order} K
 * @param {FieldsOf["set"]} set
 * @param {K} key
 * @returns {(value: Order[K]) => void}
 */
const setter = (set, key) => (value) => set(/** @type {Partial<Order>} */ ({ [key]: value }));

/** @param {FieldsOf} props what the chosen kind asks for */
function SourceFields({ order, wrongs, set }) {
  const { kind, file, path } = order;
  if (kind === "distribution") {
    return html`<${CatalogField} reference=${order.distribution} set=${setter(set, "distribution")} wrong=${wrongs.search} />`;
  }
  if (kind === "registry") {
    return html`<${TextField} id="registry" label="Image" value=${order.registry} set=${setter(set, "registry")}
      place="docker.io/library/nginx:1.27" note="With its registry and tag, or its digest" wrong=${wrongs.registry} />`;
  }
  if (kind === "upload") {
    return html`<${FileField} file=${file} set=${setter(set, "file")} wrong=${wrongs.file} />`;
  }
  if (kind === "archive") {
    const take = (/** @type {File | null} */ chosen) =>
      set({ file: chosen, ...(!order.name && chosen && { name: nameOfArchive(chosen.name) }) });
    return html`<${FileField} file=${file} set=${take} wrong=${wrongs.file} />
      <${Check} on=${order.trusted} set=${setter(set, "trusted")} label="I trust this archive"
        note="Also its ports, its folders of the machine and its start at boot count. Without it they are left out." />`;
  }
  if (kind === "file" || kind === "folder") {
    const place = kind === "folder" ? "/data/rootfs" : "/sdcard/Download/rootfs.tar.xz";
    return html`<${TextField} id="path" label="Path" value=${path} set=${setter(set, "path")} place=${place} wrong=${wrongs.path} />`;
  }
  return null;
}

/** @param {FieldsOf} props who logs in, and what is kept and runs */
function ImageFields({ order, wrongs, set }) {
  const offers = offersOf(order.kind);
  return html`${
    offers.login &&
    html`<${PasswordField} choice=${order.choice} choose=${setter(set, "choice")} password=${order.password}
        set=${setter(set, "password")} wrong=${wrongs.password} />
      <${KeysField} keys=${order.keys} set=${setter(set, "keys")} />`
  }
  ${
    order.kind === "distribution" &&
    html`<${Check}
      on=${!order.noInit}
      set=${(/** @type {boolean} */ on) => set({ noInit: !on })}
      label="Run its own init"
      note="systemd or OpenRC starts its services, as on a machine of its own. Without it: a shell."
    />`
  }
  ${
    offers.keep &&
    html`<${Check} on=${order.keep} set=${setter(set, "keep")} label="Keep the download"
      note="The next container of the same image needs none." />
      <p class="note small"><a href="#/images">What is kept</a></p>`
  }
  ${
    offers.init &&
    html`<${Check}
      on=${order.ownInit}
      set=${setter(set, "ownInit")}
      label="Run its own init"
      note="systemd or another service manager starts, as on a machine of its own. Without it: a shell."
    />`
  }`;
}

/**
 * @param {Order} order
 * @param {{ onProgress: (sent: number) => void, signal: AbortSignal }} upload
 */
function send(order, upload) {
  const { name, kind, file, start, trusted } = order;
  if (kind === "archive" && file) return importContainer(name, file, { start, trusted }, upload);
  const choices = { start, settings: settingsOf(order) };
  if (kind === "upload" && file) return uploadContainer(name, file, choices, upload);
  return createContainer(name, sourceOf(order), choices);
}

export function CreatePage() {
  useTitle("New container");
  const { containers, jobs } = useLive();
  const [order, setOrder] = useState(EMPTY);
  const [tried, setTried] = useState(false);
  const [wrong, setWrong] = useState(/** @type {Problem | null} */ (null));
  const [job, setJob] = useState("");
  const [sending, setSending] = useState(
    /** @type {{ sent: number, abort: AbortController } | null} */ (null),
  );
  const state = jobs.get(job)?.state;
  const offers = offersOf(order.kind);
  const wrongs = wrongsOf(order, containers, tried);
  const wrongPorts = wrong?.what.toLowerCase().startsWith("network.ports")
    ? reasonOf(wrong, "network.ports")
    : "";
  /** @param {Partial<Order>} change */
  const set = (change) => setOrder((/** @type {Order} */ known) => ({ ...known, ...change }));

  const create = async () => {
    setTried(true);
    setWrong(null);
    const first = Object.entries(wrongsOf(order, containers, true)).find(([, text]) => text);
    if (first) {
      document.getElementById(first[0])?.focus();
      return;
    }
    const abort = new AbortController();
    const onProgress = (/** @type {number} */ sent) => setSending({ sent, abort });
    if (offers.file) onProgress(0);
    try {
      const made = await send(order, { onProgress, signal: abort.signal });
      learnJob(made);
      setJob(made.id);
      set({ password: "" });
    } catch (error) {
      const problem = asProblem(error);
      if (problem.code !== "cancelled") setWrong(problem);
    } finally {
      setSending(null);
    }
  };

  if (sending || (job && state !== "cancelled" && state !== "failed")) {
    return html`<div class="page narrow">
      <h1>New container</h1>
      <div class="card padded">
        ${
          sending
            ? html`<${Uploading} name=${order.name} sent=${sending.sent} total=${order.file?.size ?? 1}
                cancel=${() => sending.abort.abort()} />`
            : html`<${Working} id=${job} />`
        }
      </div>
    </div>`;
  }
  const fields = { order, wrongs, set };
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
      <${TextField} id="name" label="Name" value=${order.name} set=${setter(set, "name")} place="web"
        note="Small letters, digits, '-', '_' and '.'" wrong=${wrongs.name} />
      <${Kinds} kind=${order.kind} set=${setter(set, "kind")}>
        ${order.kind !== "builtin" && html`<${SourceFields} ...${fields} />`}
      <//>
      <${ImageFields} ...${fields} />
      ${offers.settings && html`<${NetworkField} mode=${order.network} set=${setter(set, "network")} />`}
      ${
        offers.settings &&
        order.network === "nat" &&
        html`<${TextField} id="ports" label="Ports" value=${order.ports} set=${setter(set, "ports")} place="8080:80, 5353:53/udp"
          note="Port of the machine, then of the container. They lead in from everywhere." wrong=${wrongPorts} />`
      }
      <${Check} on=${order.start} set=${setter(set, "start")} label="Start it when it is ready" />
      <div class="buttons">
        <button type="submit" class="button main-act"><${Icon} name="add" />Create</button>
        <a class="button quiet" href="#/">Cancel</a>
      </div>
    </form>
  </div>`;
}
