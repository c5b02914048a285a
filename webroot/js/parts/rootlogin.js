/** Who may log in as root of a new container: by which password, by which keys. */
import { html } from "../html.js";

/** @typedef {"random" | "own" | "locked"} PasswordChoice */

const PASSWORDS = /** @type {const} */ ([
  ["random", "A random one, shown once"],
  ["own", "One of mine"],
  ["locked", "None: nobody logs in with one"],
]);

/**
 * @param {{ choice: PasswordChoice, choose: (choice: PasswordChoice) => void, password: string,
 *   set: (password: string) => void, wrong: string }} props
 */
export function PasswordField({ choice, choose, password, set, wrong }) {
  return html`<div class="field">
      <label for="password-kind">Password of root</label>
      <select id="password-kind" onChange=${(/** @type {Event} */ event) =>
        choose(/** @type {PasswordChoice} */ (/** @type {HTMLSelectElement} */ (event.currentTarget).value))}>
        ${PASSWORDS.map(([value, text]) => html`<option key=${value} value=${value} selected=${value === choice}>${text}</option>`)}
      </select>
    </div>
    ${
      choice === "own" &&
      html`<div class="field">
        <label for="password">Your password</label>
        <input id="password" type="password" autocomplete="new-password" value=${password}
          aria-invalid=${wrong ? "true" : undefined} aria-describedby="password-note"
          onInput=${(/** @type {Event} */ event) => set(/** @type {HTMLInputElement} */ (event.currentTarget).value)} />
        <p id="password-note" class=${wrong ? "wrong" : "note"} aria-live="polite">${wrong}</p>
      </div>`
    }`;
}

/** @param {{ keys: string, set: (keys: string) => void }} props */
export function KeysField({ keys, set }) {
  return html`<details class="fold" open=${keys !== ""}>
    <summary>SSH keys</summary>
    <div class="field">
      <label for="keys">Public keys that log in as root</label>
      <textarea id="keys" class="mono" rows="3" value=${keys} placeholder="ssh-ed25519 AAAA..." spellcheck=${false}
        autocapitalize="none" aria-describedby="keys-note"
        onInput=${(/** @type {Event} */ event) => set(/** @type {HTMLTextAreaElement} */ (event.currentTarget).value)}></textarea>
      <p id="keys-note" class="note">One a line. The image needs an ssh server of its own.</p>
    </div>
  </details>`;
}
