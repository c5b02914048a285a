/** The state of a container in a word and a colour. */
import { html } from "../html.js";

/** @typedef {import("../model.js").Container} Container */

const TONES = { running: "good", starting: "wait", stopping: "wait", backoff: "wait", stopped: "still" };
const WORDS = {
  running: "Running",
  starting: "Starting",
  stopping: "Stopping",
  backoff: "Waits to restart",
  stopped: "Stopped",
};

/** Ends that nobody needs to look at. */
const QUIET_END =
  /^$|^(exit code (0|129|130|137|143)|stopped|killed|poweroff|reboot)$|^(unknown|the machine) /;

/**
 * @param {Container} container
 * @returns {boolean} whether it ended in a way that somebody should look at
 */
export function endedBadly(container) {
  return container.state === "stopped" && !QUIET_END.test(container.exit);
}

/** @param {{ container: Container }} props */
export function StateMark({ container }) {
  if (container.damaged) return html`<span class="state" data-tone="bad">Damaged</span>`;
  if (container.frozen) return html`<span class="state" data-tone="wait" data-still>Frozen</span>`;
  if (container.waits && container.state === "stopped")
    return html`<span class="state" data-tone="wait">Waits</span>`;
  const bad = endedBadly(container);
  return html`<span class="state" data-tone=${bad ? "bad" : TONES[container.state]}>
    ${bad ? "Failed" : WORDS[container.state]}
  </span>`;
}
