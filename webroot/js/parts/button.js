/** A button that shows that its work is under way, and never starts it twice. */
import { html, useRef, useState } from "../html.js";
import { failed } from "./toasts.js";

/**
 * @param {{
 *   act: () => unknown, children?: unknown, look?: string, disabled?: boolean, label?: string
 * }} props act: may return a promise; what it throws is shown as a toast.  label: for those who hear the page
 */
export function Button({ act, children, look = "", disabled = false, label }) {
  const [busy, setBusy] = useState(false);
  const running = useRef(false);
  const press = async () => {
    if (running.current) return;
    running.current = true;
    const shown = setTimeout(() => setBusy(true), 120);
    try {
      await act();
    } catch (error) {
      failed(error);
    } finally {
      clearTimeout(shown);
      running.current = false;
      setBusy(false);
    }
  };
  return html`<button
    type="button"
    class=${`button ${look}`}
    disabled=${disabled}
    aria-busy=${busy ? "true" : undefined}
    aria-label=${label}
    onClick=${press}
  >
    ${children}
  </button>`;
}
