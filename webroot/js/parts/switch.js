/** A setting that is on or off. */
import { html, useRef, useState } from "../html.js";
import { failed } from "./toasts.js";

/**
 * @param {{ on: boolean, label: string, note?: string, change: (on: boolean) => Promise<unknown> }} props
 */
export function Switch({ on, label, note, change }) {
  const [wanted, setWanted] = useState(/** @type {boolean | null} */ (null));
  const running = useRef(false);
  const shown = wanted ?? on;
  const press = async () => {
    if (running.current) return;
    running.current = true;
    setWanted(!shown);
    try {
      await change(!shown);
    } catch (error) {
      failed(error);
    } finally {
      running.current = false;
      setWanted(null);
    }
  };
  return html`<button type="button" class="switch" role="switch" aria-checked=${shown ? "true" : "false"} onClick=${press}>
    <span>${label}${note && html`<span class="note">${note}</span>`}</span>
    <span class="track"></span>
  </button>`;
}
