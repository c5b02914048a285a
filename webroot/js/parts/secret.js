/** A password that is shown once: nobody keeps it, so the page says so and helps to copy it. */
import { takeSecret } from "../api.js";
import { html, useRef, useState } from "../html.js";
import { Button } from "./button.js";
import { said } from "./toasts.js";

/** @typedef {import("../model.js").Job} Job */

/** @param {{ secret: string }} props */
function Shown({ secret }) {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const copy = async () => {
    input.current?.select();
    try {
      await navigator.clipboard.writeText(secret);
      said("Copied");
    } catch {
      // No clipboard for pages here: it is selected, so the system's own menu copies it.
      said("Selected: copy it with the menu of your keyboard");
    }
  };
  return html`<div class="secret">
    <input ref=${input} type="text" class="mono" readonly value=${secret} aria-label="Password of root" spellcheck=${false}
      onFocus=${() => input.current?.select()} />
    <${Button} act=${copy} label="Copy the password">Copy<//>
  </div>`;
}

/**
 * @param {{ job: Job, taken: (secret: string) => void, secret: string }} props secret: once it was taken.
 * The caller keeps it, for news of the job draw this anew.
 */
export function Secret({ job, secret, taken }) {
  const [gone, setGone] = useState(false);
  const take = async () => {
    try {
      taken(await takeSecret(job.id));
    } catch (error) {
      setGone(true);
      throw error;
    }
  };
  if (gone) return html`<p class="soft small">The password of root was shown already.</p>`;
  if (!secret && !job.secret) return null;
  return html`<div class="field">
    <h2 class="small">Password of root</h2>
    ${
      secret
        ? html`<${Shown} secret=${secret} />`
        : html`<div><${Button} look="main-act" act=${take}>Show the password<//></div>`
    }
    <p class="note">It is shown once and kept nowhere. <code>passwd</code> inside changes it.</p>
  </div>`;
}
