/** What brought the phone down, and what a person may decide about it. */
import { decide } from "../acts.js";
import { useTitle } from "../frame.js";
import { featureWords, plainWords } from "../guard.js";
import { html } from "../html.js";
import { reload, useLive } from "../live.js";
import { Button } from "../parts/button.js";
import { Icon } from "../parts/icons.js";
import { ProblemBox } from "../parts/problem.js";
import { said } from "../parts/toasts.js";
import { containerLink } from "../router.js";

/** @typedef {import("../model.js").Guard} Guard */

/** @param {{ guard: Guard }} props */
function Story({ guard }) {
  const { trip, failedBoots } = guard;
  const { title, what } = plainWords(guard);
  const again = () => decide({ action: "try-again" }).then(() => said("Containers may start again"));
  const never = async (/** @type {string} */ feature) => {
    await decide({ action: "never", feature });
    said(`${featureWords(feature).name} are not used any more`);
  };
  const words = trip?.feature ? featureWords(trip.feature) : null;
  return html`<section class="card padded" aria-labelledby="story">
    <h2 id="story" class="alarm"><${Icon} name="shield" size=${24} />${title}</h2>
    <div class="prose">
      <p>${what} Nothing was lost: the containers and their files are as they were.</p>
      <p>They are held back until you decide, so that the phone does not go down again and again.</p>
    </div>
    ${trip?.text && html`<p class="quote">${trip.text}</p>`}
    <dl class="facts">
      ${trip?.when ? html`<dt>When</dt><dd>${new Date(trip.when * 1000).toLocaleString()}</dd>` : null}
      ${trip?.container && html`<dt>Container</dt><dd><a href=${containerLink(trip.container)}>${trip.container}</a></dd>`}
      ${words && html`<dt>Step</dt><dd>${words.name}</dd>`}
      ${trip?.kernel && html`<dt>Kernel</dt><dd class="mono">${trip.kernel}</dd>`}
      ${failedBoots > 0 && html`<dt>Failed boots</dt><dd>${failedBoots}</dd>`}
    </dl>
    <div class="decide">
      <div>
        <${Button} look="main-act" act=${again}><${Icon} name="restart" size=${18} />Try again<//>
        <p class="soft small">The containers that start at boot start now. If the phone goes down once more, you are back here.</p>
      </div>
      ${
        trip?.feature &&
        html`<div>
          <${Button} act=${() => never(trip.feature)}>Never use ${words?.name}<//>
          <p class="soft small">${words?.cost} You can take this back.</p>
        </div>`
      }
    </div>
  </section>`;
}

/** @param {Event} event of a fold: what counts is at the end of its text */
function toEnd(event) {
  const text = /** @type {HTMLElement} */ (event.currentTarget).querySelector("pre");
  text?.scrollTo(0, text.scrollHeight);
}

/** @param {{ files: Guard["pstore"] }} props */
function LastWords({ files }) {
  if (files.length === 0) return null;
  return html`<section class="card padded" aria-labelledby="pstore">
    <h2 id="pstore">The kernel's last messages</h2>
    <p class="soft small">For a report to whoever makes your kernel. The end of the text is the moment of the crash.</p>
    ${files.map(
      ({ name, text }) => html`<details key=${name} class="fold" onToggle=${toEnd}>
        <summary><span class="mono">${name}</span></summary>
        <pre class="kernel" tabindex="0" aria-label=${`Text of ${name}`}>${text}</pre>
      </details>`,
    )}
  </section>`;
}

/** @param {{ guard: Guard }} props what is never used, with a way back */
export function NeverUsed({ guard }) {
  if (guard.never.length === 0) return null;
  return html`<section class="card padded" aria-labelledby="never">
    <h2 id="never">Never used</h2>
    <ul class="choose">
      ${guard.never.map((feature) => {
        const { name, cost } = featureWords(feature);
        return html`<li key=${feature}>
          <span><strong>${name}</strong><span class="soft small">${cost}</span></span>
          <${Button} act=${() => decide({ action: "allow", feature })} label=${`Allow again: ${name}`}>Allow again<//>
        </li>`;
      })}
    </ul>
  </section>`;
}

export function GuardPage() {
  useTitle("Crash guard");
  const { guard, problem } = useLive();
  return html`<div class="page narrow">
    <div>
      <a class="back" href="#/host"><${Icon} name="back" size=${18} />Machine</a>
      <h1>Crash guard</h1>
    </div>
    ${!guard && !problem && html`<div class="skeleton block" role="status" aria-label="Loading"></div>`}
    ${!guard && problem && html`<${ProblemBox} problem=${problem} /><div><${Button} act=${reload}>Try again<//></div>`}
    ${guard?.problem && html`<p class="problem">${guard.problem}</p>`}
    ${
      guard &&
      (guard.blocked
        ? html`<${Story} guard=${guard} />`
        : html`<section class="card padded" aria-labelledby="calm">
            <h2 id="calm"><span class="calm"><${Icon} name="check" size=${22} />Containers may start</span></h2>
            <p class="soft small">
              ${
                guard.active
                  ? "Before each step that some kernel does not survive, a note is written. If the phone goes down in the middle, the next boot starts this page but no container, and tells you here what it was."
                  : "This machine needs no crash guard: it is for phones."
              }
            </p>
          </section>`)
    }
    ${guard && html`<${LastWords} files=${guard.pstore} /><${NeverUsed} guard=${guard} />`}
  </div>`;
}
