import { keptImages, pruneImages, removeImage, verifyImages } from "../api.js";
import { bytes } from "../format.js";
import { useTitle } from "../frame.js";
import { html, useEffect, useState } from "../html.js";
import { damagedBy, outcomeOf, usersOf } from "../kept.js";
import { learnJob, useLive } from "../live.js";
import { Button } from "../parts/button.js";
import { Confirm } from "../parts/dialog.js";
import { Icon } from "../parts/icons.js";
import { JobView } from "../parts/job.js";
import { ProblemBox } from "../parts/problem.js";
import { said } from "../parts/toasts.js";
import { asProblem } from "../problem.js";
import { containerLink } from "../router.js";

/** @typedef {import("../kept.js").Kept} Kept */
/** @typedef {import("../kept.js").KeptImage} KeptImage */
/** @typedef {import("../model.js").Job} Job */
/** @typedef {import("../problem.js").Problem} Problem */

const KINDS = ["prune", "verify"];

function Empty() {
  return html`<div class="card empty">
    <${Icon} name="down" size=${56} />
    <h2>No image is kept</h2>
    <p>
      A download goes straight into its container. With <strong>Keep the download</strong> on the page New, or
      <code>nspawn create --keep</code>, it is stored as well, and the next container of the same image needs none.
    </p>
    <a class="button main-act" href="#/new"><${Icon} name="add" />New container</a>
  </div>`;
}

/** @param {{ image: KeptImage, removed: () => unknown }} props */
function Row({ image, removed }) {
  const { containers } = useLive();
  const [asking, setAsking] = useState(false);
  const users = usersOf(image, containers?.values() ?? []);
  const fetched = new Date(image.date * 1000).toLocaleDateString(undefined, { dateStyle: "medium" });
  const remove = async () => {
    said(`${image.title} removed, ${bytes(await removeImage(image.id))} freed`);
    await removed();
  };
  return html`<li class="row">
    <div class="row-name"><strong>${image.title}</strong></div>
    <div class="row-more">
      <span class="mono">${image.reference}</span>
      <span>${bytes(image.size)}</span>
      <span>fetched ${fetched}</span>
      ${image.arch && html`<span>${image.arch}</span>`}
      ${
        users.length > 0 &&
        html`<span>used by ${users.map((name, at) => html`${at > 0 && ", "}<a href=${containerLink(name)}>${name}</a>`)}</span>`
      }
    </div>
    ${!image.whole && html`<div class="row-why">Parts of it are gone; they are fetched again when it is used.</div>`}
    <div class="row-acts">
      <${Button} look="danger" act=${() => setAsking(true)} label=${`Remove ${image.title}`}>Remove<//>
    </div>
    ${
      asking &&
      html`<${Confirm} title=${`Remove ${image.title}?`} confirm="Remove it" act=${remove} close=${() => setAsking(false)}>
        The containers made from it stay as they are. The next one fetches the image again.
      <//>`
    }
  </li>`;
}

/** @param {{ job: Job, images: KeptImage[] }} props */
function Work({ job, images }) {
  const damaged = job.state === "done" ? damagedBy(job, images) : [];
  return html`<div class="card padded">
    <${JobView} job=${job} />
    ${job.state === "done" && html`<p role="status">${outcomeOf(job)}</p>`}
    ${
      damaged.length > 0 &&
      html`<ul class="notes small breakable">${damaged.map((each) => html`<li key=${each}>${each}</li>`)}</ul>`
    }
  </div>`;
}

/** @param {{ any: boolean, begun: (id: string) => void }} props any: whether an image is kept */
function Acts({ any, begun }) {
  const [asking, setAsking] = useState(false);
  /** @param {Promise<Job>} asked */
  const begin = async (asked) => {
    const job = await asked;
    learnJob(job);
    begun(job.id);
  };
  return html`<div class="buttons">
    <${Button} act=${() => begin(verifyImages())} disabled=${!any}><${Icon} name="check" size=${18} />Verify<//>
    <${Button} act=${() => begin(pruneImages(false))}>Clean up<//>
    <${Button} look="quiet danger" act=${() => setAsking(true)} disabled=${!any}>Remove all…<//>
    ${
      asking &&
      html`<${Confirm} title="Remove all kept images?" confirm="Remove all" act=${() => begin(pruneImages(true))}
        close=${() => setAsking(false)}>
        The containers made from them stay as they are. The next ones fetch their images again.
      <//>`
    }
  </div>`;
}

export function ImagesPage() {
  useTitle("Kept images");
  const { jobs } = useLive();
  const [kept, setKept] = useState(/** @type {Kept | null} */ (null));
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const [mine, setMine] = useState("");
  const all = [...jobs.values()];
  const running = all.find((each) => KINDS.includes(each.kind) && each.state === "running");
  const shown = running ?? jobs.get(mine);
  // Whatever ended may have kept or removed something.
  const ended = all.filter((each) => each.state !== "running").length;
  const load = async () => {
    try {
      setKept(await keptImages());
      setProblem(null);
    } catch (error) {
      setProblem(asProblem(error));
    }
  };
  useEffect(() => {
    load();
  }, [ended]);
  const total = kept?.images.reduce((sum, each) => sum + each.size, 0) ?? 0;
  return html`<div class="page">
    <div>
      <div><a class="back" href="#/host"><${Icon} name="back" size=${18} />Machine</a></div>
      <div class="page-head">
        <div>
          <h1>Kept images</h1>
          ${kept && kept.images.length > 0 && html`<p class="soft small">${kept.images.length === 1 ? "One image" : `${kept.images.length} images`}, ${bytes(total)}</p>`}
        </div>
        ${kept && !running && html`<${Acts} any=${kept.images.length > 0} begun=${setMine} />`}
      </div>
    </div>
    ${problem && html`<${ProblemBox} problem=${problem} /><div><${Button} act=${load}>Try again<//></div>`}
    ${shown && html`<${Work} job=${shown} images=${kept?.images ?? []} />`}
    ${kept?.problems.map((text) => html`<${ProblemBox} key=${text} problem=${{ what: text, why: "", hint: "" }} />`)}
    ${!kept && !problem && html`<div class="skeleton block" role="status" aria-label="Loading"></div>`}
    ${kept && kept.images.length === 0 && html`<${Empty} />`}
    ${
      kept &&
      kept.images.length > 0 &&
      html`<div class="card">
          <ul>${kept.images.map((each) => html`<${Row} key=${each.id} image=${each} removed=${load} />`)}</ul>
        </div>
        <p class="soft small">
          Verify reads everything again and compares the hashes. Clean up removes what no kept image needs, and what broken
          downloads left.
        </p>`
    }
  </div>`;
}
