/** Short messages at the edge of the page. */
import { html, useEffect, useState } from "../html.js";
import { asProblem } from "../problem.js";
import { Icon } from "./icons.js";

/** @typedef {{ id: number, tone: "plain" | "bad", text: string, more: string }} Toast */

/** Milliseconds that a message stays; an error stays longer, for it has more to read. */
const STAY = { plain: 4000, bad: 12_000 };

/** @type {Toast[]} */
let toasts = [];
let count = 0;
/** @type {Set<() => void>} */
const listeners = new Set();

/** @param {Toast[]} next */
function set(next) {
  toasts = next;
  for (const listener of listeners) listener();
}

/** @param {number} id */
function drop(id) {
  set(toasts.filter((toast) => toast.id !== id));
}

/**
 * @param {Toast["tone"]} tone
 * @param {string} text
 * @param {string} more
 */
function show(tone, text, more) {
  count += 1;
  const id = count;
  // Of what went well only the newest counts.
  set([...toasts.filter((toast) => toast.tone === "bad").slice(-2), { id, tone, text, more }]);
  setTimeout(() => drop(id), STAY[tone]);
}

/** @param {string} text what has happened */
export function said(text) {
  show("plain", text, "");
}

/** @param {unknown} error what has failed */
export function failed(error) {
  const problem = asProblem(error);
  // After a logout the login page says it all.
  if (problem.status === 401) return;
  show("bad", problem.what, [problem.why, problem.hint].filter(Boolean).join(". "));
}

export function Toasts() {
  const [, redraw] = useState(0);
  useEffect(() => {
    const changed = () => redraw((/** @type {number} */ before) => before + 1);
    // An error belongs to what was done on its page; on another it would only be in the way.
    const moved = () => set(toasts.filter((toast) => toast.tone !== "bad"));
    listeners.add(changed);
    window.addEventListener("hashchange", moved);
    return () => {
      listeners.delete(changed);
      window.removeEventListener("hashchange", moved);
    };
  }, []);
  return html`<div class="toasts" role="status" aria-live="polite">
    ${toasts.map(
      (toast) => html`<div key=${toast.id} class="toast" data-tone=${toast.tone}>
        <div>
          <strong>${toast.text}</strong>
          ${toast.more && html`<div class="small">${toast.more}</div>`}
        </div>
        <button type="button" class="button quiet icon" aria-label="Dismiss" onClick=${() => drop(toast.id)}>
          <${Icon} name="close" />
        </button>
      </div>`,
    )}
  </div>`;
}
