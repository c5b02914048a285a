/** Fields of a form that is sent as a whole: their values are its page's until then. */
import { bytes } from "../format.js";
import { html, useRef } from "../html.js";
import { Button } from "./button.js";

/**
 * @param {{ id: string, label: string, value: string, set: (value: string) => void, note?: string, wrong?: string, place?: string }} props
 */
export function TextField({ id, label, value, set, note = "", wrong = "", place = "" }) {
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

/** @param {{ on: boolean, set: (on: boolean) => void, label: string, note?: string }} props */
export function Check({ on, set, label, note }) {
  return html`<label class="choice">
    <input type="checkbox" checked=${on} onChange=${(/** @type {Event} */ event) => set(/** @type {HTMLInputElement} */ (event.target).checked)} />
    <span><strong>${label}</strong>${note && html`<span>${note}</span>`}</span>
  </label>`;
}

/** @param {{ file: File | null, set: (file: File | null) => void, wrong: string }} props */
export function FileField({ file, set, wrong }) {
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
