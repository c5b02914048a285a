/** Where the root file system of a new container comes from, and which network it has. */
import { html } from "../html.js";
import { MODES } from "./connection.js";

/** @typedef {"builtin" | "distribution" | "registry" | "upload" | "archive" | "file" | "folder"} Kind */

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
  {
    kind: "archive",
    title: "Archive of a container",
    note: "What an export wrote, from this device: with the settings that it had.",
  },
  { kind: "file", title: "File on the machine", note: "A root file system or image that is already there." },
  {
    kind: "folder",
    title: "Folder on the machine",
    note: "Used where it is. It stays yours when the container is deleted.",
  },
]);

const MODE_NOTES = /** @type {Record<string, string>} */ ({
  host: "It sees and uses what the machine has.",
  nat: "It is behind the machine, with ports and ways out of its own.",
  none: "It reaches only itself.",
});

/** @param {{ kind: Kind, set: (kind: Kind) => void, children?: unknown }} props children: below the chosen one */
export function Kinds({ kind, set, children }) {
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
export function NetworkField({ mode, set }) {
  return html`<div class="field">
    <label for="mode">Network</label>
    <select id="mode" aria-describedby="mode-note"
      onChange=${(/** @type {Event} */ event) => set(/** @type {HTMLSelectElement} */ (event.currentTarget).value)}>
      ${MODES.map(([value, text]) => html`<option key=${value} value=${value} selected=${value === mode}>${text}</option>`)}
    </select>
    <p id="mode-note" class="note">${MODE_NOTES[mode]}</p>
  </div>`;
}
