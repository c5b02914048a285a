/** The choice of a distribution and of its release. */
import { imageCatalog } from "../api.js";
import { matching, releaseText } from "../catalog.js";
import { bytes, sentence } from "../format.js";
import { html, useEffect, useState } from "../html.js";
import { asProblem } from "../problem.js";
import { Button } from "./button.js";
import { ProblemBox } from "./problem.js";

/** @typedef {import("../catalog.js").Catalog} Catalog */
/** @typedef {import("../catalog.js").Distribution} Distribution */
/** @typedef {import("../problem.js").Problem} Problem */

/** The server's list, for as long as the page is open. @type {Catalog | null} */
let known = null;

/** @param {{ distribution: Distribution, reference: string, set: (reference: string) => void }} props */
function Releases({ distribution, reference, set }) {
  return html`<div class="field">
    <label for="release">Release</label>
    <select id="release" onChange=${(/** @type {Event} */ event) =>
      set(/** @type {HTMLSelectElement} */ (event.currentTarget).value)}>
      ${distribution.offers.map(
        (each) =>
          html`<option key=${each.reference} value=${each.reference} selected=${each.reference === reference}>
            ${releaseText(each)} · ${bytes(each.size)}
          </option>`,
      )}
    </select>
  </div>`;
}

/**
 * @param {{ reference: string, set: (reference: string) => void, wrong: string }} props reference: the chosen
 * image, or empty
 */
export function CatalogField({ reference, set, wrong }) {
  const [catalog, setCatalog] = useState(known);
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const [text, setText] = useState("");
  const load = async () => {
    setProblem(null);
    try {
      const found = await imageCatalog();
      known = found.notes.length ? null : found; // with a note it is an old one: ask again the next time
      setCatalog(found);
    } catch (error) {
      setProblem(asProblem(error));
    }
  };
  useEffect(() => {
    if (!known) load();
  }, []);
  if (problem)
    return html`<${ProblemBox} problem=${problem} /><div><${Button} act=${load}>Try again<//></div>`;
  if (!catalog)
    return html`<div class="skeleton block" role="status" aria-label="Asking the image server"></div>`;
  const chosen = catalog.distributions.find((each) =>
    each.offers.some((offer) => offer.reference === reference),
  );
  const shown = matching(catalog.distributions, text);
  return html`<div class="field">
      <label for="search">Distribution</label>
      <input id="search" type="text" value=${text} placeholder="Search" autocomplete="off" autocapitalize="none"
        spellcheck=${false} aria-describedby="search-note" aria-invalid=${wrong ? "true" : undefined}
        onInput=${(/** @type {Event} */ event) => setText(/** @type {HTMLInputElement} */ (event.currentTarget).value)} />
      <div class="offers" role="radiogroup" aria-label="Distributions">
        ${shown.map(
          (each) => html`<label key=${each.name} class="choice tight">
            <input type="radio" name="distribution" value=${each.name} checked=${chosen?.name === each.name}
              onChange=${() => set(each.current.reference)} />
            <span><strong>${sentence(each.title)}</strong>
              <span>${releaseText(each.current)} · ${bytes(each.current.size)} to fetch</span></span>
          </label>`,
        )}
        ${shown.length === 0 && html`<p class="soft small">There is none like that for ${catalog.arch}.</p>`}
      </div>
      <p id="search-note" class=${wrong ? "wrong" : "note"} aria-live="polite">
        ${wrong || [`For ${catalog.arch}.`, ...catalog.notes.map((note) => `${sentence(note)}.`)].join(" ")}
      </p>
    </div>
    ${chosen && html`<${Releases} distribution=${chosen} reference=${reference} set=${set} />`}`;
}
