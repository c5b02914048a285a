/** Texts and lists of texts that are saved when they are entered; what is refused stays there, with the reason. */
import { html, useRef, useState } from "../html.js";
import { asProblem } from "../problem.js";
import { Button } from "./button.js";
import { Icon } from "./icons.js";

/**
 * @param {import("../problem.js").Problem} problem
 * @param {string} key the setting that the field is of: the field itself tells that already
 * @returns {string}
 */
export function reasonOf({ what, why, hint }, key) {
  const own = what.toLowerCase().startsWith(`${key}: `) ? what.slice(key.length + 2) : what;
  const text = own.charAt(0).toUpperCase() + own.slice(1);
  return [why ? `${text}: ${why}` : text, hint].filter(Boolean).join(". ");
}

/**
 * One saving after the other; what went wrong with the last.
 * @param {string} key
 * @returns {[string, boolean, (work: () => Promise<unknown>) => Promise<boolean>, () => void]}
 */
function useSaving(key) {
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState(false);
  const running = useRef(false);
  /** @param {() => Promise<unknown>} work */
  const save = async (work) => {
    if (running.current) return false;
    running.current = true;
    setBusy(true);
    try {
      await work();
      setWrong("");
      return true;
    } catch (error) {
      setWrong(reasonOf(asProblem(error), key));
      return false;
    } finally {
      running.current = false;
      setBusy(false);
    }
  };
  return [wrong, busy, save, () => setWrong("")];
}

/** @param {Event} event */
const textOf = (event) => /** @type {HTMLInputElement} */ (event.currentTarget).value;

/**
 * @param {{ id: string, wrong: string, note?: string }} props
 */
function Below({ id, wrong, note = "" }) {
  return html`<p id=${`${id}-note`} class=${wrong ? "wrong" : "note"} aria-live="polite">${wrong || note}</p>`;
}

/**
 * @param {{ id: string, setting: string, label: string, note?: string, place?: string, value: string,
 *   change: (value: string) => Promise<unknown> }} props
 */
export function SavedText({ id, setting, label, note, place = "", value, change }) {
  const [draft, setDraft] = useState(/** @type {string | null} */ (null));
  const [wrong, , save, forget] = useSaving(setting);
  /** @param {string} text */
  const enter = async (text) => {
    if (text === value) {
      setDraft(null);
      forget();
    } else if (await save(() => change(text))) setDraft(null);
  };
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <input id=${id} type="text" class="mono" value=${draft ?? value} placeholder=${place} autocapitalize="none"
      autocomplete="off" spellcheck=${false} aria-invalid=${wrong ? "true" : undefined} aria-describedby=${`${id}-note`}
      onInput=${(/** @type {Event} */ event) => setDraft(textOf(event))}
      onChange=${(/** @type {Event} */ event) => enter(textOf(event).trim())} />
    <${Below} id=${id} wrong=${wrong} note=${note} />
  </div>`;
}

/**
 * @param {{ id: string, setting: string, label: string, note?: string, place?: string, items: string[],
 *   ordered?: boolean, offers?: string[], add: string, change: (items: string[]) => Promise<unknown> }} props
 * ordered: the first counts most, and they can be moved; offers: what may be wanted; add: the words on the button
 */
export function SavedList({
  id,
  setting,
  label,
  note,
  place = "",
  items,
  ordered = false,
  offers = [],
  add,
  change,
}) {
  const [draft, setDraft] = useState("");
  const [wrong, busy, save, forget] = useSaving(setting);
  const enter = async () => {
    const text = draft.trim();
    if (!text) return;
    if (await save(() => change([...items, text]))) setDraft("");
  };
  /** @param {string[]} wanted */
  const set = (wanted) => save(() => change(wanted));
  const left = offers.filter((each) => !items.includes(each));
  return html`<div class="field" role="group" aria-label=${label}>
    <label for=${id}>${label}</label>
    ${
      items.length > 0 &&
      html`<ul class="items">
        ${items.map(
          (item, place_) => html`<li key=${item}>
            <span class="mono">${item}</span>
            ${
              ordered &&
              items.length > 1 &&
              html`<${Button} look="quiet icon" disabled=${place_ === 0 || busy} label=${`Prefer ${item}`}
                act=${() => set(items.map((each, at) => (at === place_ - 1 ? item : at === place_ ? (items[at - 1] ?? "") : each)))}>
                <${Icon} name="up" size=${18} />
              <//>`
            }
            <${Button} look="quiet icon" disabled=${busy} label=${`Remove ${item}`}
              act=${() => set(items.filter((each) => each !== item))}><${Icon} name="close" size=${18} /><//>
          </li>`,
        )}
      </ul>`
    }
    <div class="adding">
      <input id=${id} type="text" class="mono" value=${draft} placeholder=${place} autocapitalize="none" autocomplete="off"
        spellcheck=${false} aria-invalid=${wrong ? "true" : undefined} aria-describedby=${`${id}-note`}
        list=${left.length ? `${id}-offers` : undefined}
        onInput=${(/** @type {Event} */ event) => {
          setDraft(textOf(event));
          if (wrong) forget();
        }}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
          if (event.key !== "Enter") return;
          event.preventDefault();
          enter();
        }} />
      <${Button} act=${enter} label=${`${add}: ${label}`} disabled=${!draft.trim()}><${Icon} name="add" size=${18} />${add}<//>
    </div>
    ${left.length > 0 && html`<datalist id=${`${id}-offers`}>${left.map((each) => html`<option key=${each} value=${each} />`)}</datalist>`}
    <${Below} id=${id} wrong=${wrong} note=${note} />
  </div>`;
}
