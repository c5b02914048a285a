/** Settings that are more than on or off; each is saved as soon as it is chosen. */
import { html, useRef, useState } from "../html.js";
import { failed } from "./toasts.js";

/** @typedef {readonly [value: string, text: string]} Option */

/**
 * Saving one value after the other, while the page already shows the newest.
 * @template T
 * @param {T} known what the server has
 * @param {(value: T) => Promise<unknown>} change
 * @returns {[T, (value: T) => void]}
 */
function useSaved(known, change) {
  const [wanted, setWanted] = useState(/** @type {{ value: T } | null} */ (null));
  const last = useRef(Promise.resolve());
  /** @param {T} value */
  const save = (value) => {
    const mine = { value };
    setWanted(mine);
    last.current = last.current
      .then(() => change(value))
      .catch(failed)
      .then(() => setWanted((/** @type {typeof wanted} */ now) => (now === mine ? null : now)));
  };
  return [wanted ? wanted.value : known, save];
}

/**
 * One of few.
 * @param {{ id: string, label: string, note?: string, value: string, options: readonly Option[],
 *   change: (value: string) => Promise<unknown> }} props
 */
export function Select({ id, label, note, value, options, change }) {
  const [shown, save] = useSaved(value, change);
  const known = options.some(([name]) => name === shown);
  return html`<div class="line">
    <label for=${id}>${label}${note && html`<span class="note">${note}</span>`}</label>
    <select id=${id} value=${shown} onChange=${(/** @type {Event} */ event) =>
      save(/** @type {HTMLSelectElement} */ (event.currentTarget).value)}>
      ${!known && html`<option value=${shown}>${shown}</option>`}
      ${options.map(([name, text]) => html`<option key=${name} value=${name} selected=${name === shown}>${text}</option>`)}
    </select>
  </div>`;
}

/**
 * Any of some: buttons that stay pressed.
 * @param {{ label: string, note?: string, chosen: string[], options: readonly Option[],
 *   change: (chosen: string[]) => Promise<unknown> }} props
 */
export function Several({ label, note, chosen, options, change }) {
  const [shown, save] = useSaved(chosen, change);
  return html`<fieldset class="several">
    <legend>${label}${note && html`<span class="note">${note}</span>`}</legend>
    <div class="chips">
      ${options.map(([name, text]) => {
        const on = shown.includes(name);
        const press = () => save(on ? shown.filter((each) => each !== name) : [...shown, name]);
        return html`<button key=${name} type="button" class="chip" aria-pressed=${on ? "true" : "false"} onClick=${press}>
          ${text}
        </button>`;
      })}
    </div>
  </fieldset>`;
}

/**
 * A text that is saved when it is left, or by Enter.
 * @param {{ id: string, label: string, note?: string, value: string, change: (value: string) => Promise<unknown> }} props
 */
export function TextLine({ id, label, note, value, change }) {
  const [known, save] = useSaved(value, change);
  // What is being typed: other news of the page must not take it away.
  const [draft, setDraft] = useState(/** @type {string | null} */ (null));
  /** @param {Event} event */
  const textOf = (event) => /** @type {HTMLInputElement} */ (event.currentTarget).value;
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <input id=${id} type="text" class="mono" value=${draft ?? known} autocapitalize="none" autocomplete="off" spellcheck=${false}
      aria-describedby=${note ? `${id}-note` : undefined}
      onInput=${(/** @type {Event} */ event) => setDraft(textOf(event))}
      onChange=${(/** @type {Event} */ event) => {
        const text = textOf(event).trim();
        setDraft(null);
        if (text !== known) save(text);
      }} />
    ${note && html`<p class="note" id=${`${id}-note`}>${note}</p>`}
  </div>`;
}
