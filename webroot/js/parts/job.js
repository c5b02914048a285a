/** Work that takes a while: how far it is, how fast, how long still, and a way to end it. */
import { cancelJob } from "../api.js";
import { bytes, duration, sentence } from "../format.js";
import { html } from "../html.js";
import { learnJob } from "../live.js";
import { Button } from "./button.js";
import { ProblemBox } from "./problem.js";

/** @typedef {import("../model.js").Job} Job */

const WORDS = { done: "Done", failed: "Failed", cancelled: "Cancelled" };

/**
 * @param {Pick<Job, "done" | "total" | "rate" | "eta">} job
 * @returns {string}
 */
export function progressText({ done, total, rate, eta }) {
  const parts = [];
  if (total) parts.push(`${bytes(done)} of ${bytes(total)}`);
  else if (done) parts.push(bytes(done));
  if (rate) parts.push(`${bytes(rate)}/s`);
  if (eta) parts.push(`${duration(eta)} left`);
  return parts.join(" · ");
}

/** @param {{ job: Job }} props */
export function JobView({ job }) {
  const running = job.state === "running";
  const subject = job.container || "Kept images";
  const title = job.state === "running" ? sentence(job.phase || job.kind) : WORDS[job.state];
  return html`<div class="job">
    <div class="job-head">
      <div>
        <strong>${subject}</strong>
        <div class="small soft">${title}</div>
      </div>
      ${
        running &&
        html`<${Button} act=${() => cancelJob(job.id).then(learnJob)} label=${`Cancel the work on ${subject}`}>Cancel<//>`
      }
    </div>
    ${running && html`<${Bar} done=${job.done} total=${job.total} label=${`Progress of ${subject}`} />`}
    ${running && html`<div class="small soft">${progressText(job) || " "}</div>`}
    <${ProblemBox} problem=${job.error} />
  </div>`;
}

/** @param {{ done: number, total: number | null, label: string }} props */
export function Bar({ done, total, label }) {
  if (!total) return html`<progress aria-label=${label}></progress>`;
  return html`<progress aria-label=${label} value=${Math.min(done, total)} max=${total}></progress>`;
}
