/** An error as the server explains it: what, why, and what to do next. */
import { html } from "../html.js";

/** @param {{ problem: import("../model.js").Reason | null }} props */
export function ProblemBox({ problem }) {
  if (!problem) return null;
  return html`<div class="problem" role="alert">
    <strong>${problem.what}</strong>
    ${problem.why && html`<span>${problem.why}</span>`}
    ${problem.hint && html`<span class="soft">${problem.hint}</span>`}
  </div>`;
}
