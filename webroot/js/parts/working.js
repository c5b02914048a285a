/** The work that makes a container, and what is told when it is done. */
import { bytes, sentence } from "../format.js";
import { html, useEffect, useState } from "../html.js";
import { useLive } from "../live.js";
import { containerLink, go } from "../router.js";
import { Button } from "./button.js";
import { Bar, JobView } from "./job.js";
import { Secret } from "./secret.js";
import { said } from "./toasts.js";

const WORDS = /** @type {Record<string, string>} */ ({ clone: "copied", import: "imported" });

/** @param {{ notes: string[] }} props what a person should know of what was made */
export function Notes({ notes }) {
  if (notes.length === 0) return null;
  return html`<ul class="notes small soft">${notes.map((note) => html`<li key=${note}>${sentence(note)}</li>`)}</ul>`;
}

/**
 * @param {{ id: string }} props id: of the job; leads to the container when it is done, and nothing is left to
 * tell before
 */
export function Working({ id }) {
  const { jobs } = useLive();
  const [secret, setSecret] = useState("");
  const job = jobs.get(id);
  const more = Boolean(job && (secret || job.secret || job.notes.length > 0));
  useEffect(() => {
    if (job?.state !== "done" || more) return;
    said(`${job.container} ${WORDS[job.kind] ?? "created"}`);
    go(containerLink(job.container));
  }, [job?.state]);
  if (!job) return html`<div class="skeleton block" role="status" aria-label="Loading"></div>`;
  const done = job.state === "done";
  return html`<${JobView} job=${job} />
    ${done && html`<${Secret} job=${job} secret=${secret} taken=${setSecret} />`}
    ${done && html`<${Notes} notes=${job.notes} />`}
    ${done && html`<div><a class="button" href=${containerLink(job.container)}>Show ${job.container}</a></div>`}`;
}

/** @param {{ name: string, sent: number, total: number, cancel: () => void }} props */
export function Uploading({ name, sent, total, cancel }) {
  return html`<div class="job">
    <div class="job-head">
      <div><strong>${name}</strong><div class="small soft">Sending the file</div></div>
      <${Button} act=${cancel} label="Cancel the upload">Cancel<//>
    </div>
    <${Bar} done=${sent} total=${total} label="Progress of the upload" />
    <div class="small soft">${bytes(sent)} of ${bytes(total)}</div>
  </div>`;
}
