/** An error as the server explains it: what, why, and what to do next. */
import { sentence } from "../format.js";
import { html } from "../html.js";

/**
 * @param {string} text with commands between backticks
 * @returns {unknown[]} the same with the commands as such
 */
export function withCommands(text) {
  return text.split("`").map((part, index) => (index % 2 ? html`<code>${part}</code>` : part));
}

/** @param {{ problem: import("../model.js").Reason | null }} props */
export function ProblemBox({ problem }) {
  if (!problem) return null;
  return html`<div class="problem" role="alert">
    <strong>${problem.what}</strong>
    ${problem.why && html`<span>${sentence(problem.why)}</span>`}
    ${problem.hint && html`<span class="soft">${withCommands(problem.hint)}</span>`}
  </div>`;
}
