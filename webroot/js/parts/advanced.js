/** What is done with an image after the unpacking, for those who want it otherwise. */
import { html } from "../html.js";
import { TextField } from "./inputs.js";

/** By the server's names. */
const STEPS = /** @type {const} */ ([
  ["password", "Password of root"],
  ["ssh-keys", "SSH keys"],
  ["resolv.conf", "Name servers"],
  ["machine-id", "Machine id"],
  ["groups", "Groups for sockets"],
  ["systemd", "Settings of systemd"],
  ["locale", "Language"],
  ["timezone", "Time zone"],
]);

/** @returns {string[]} */
function zones() {
  try {
    return ["UTC", ...Intl.supportedValuesOf("timeZone")];
  } catch {
    // An older browser: the name is typed.
    return [];
  }
}

/**
 * @param {{ timezone: string, locale: string, skip: string[], wrongs: Record<string, string>,
 *   set: (change: { timezone?: string, locale?: string, skip?: string[] }) => void }} props
 */
export function Advanced({ timezone, locale, skip, wrongs, set }) {
  return html`<details class="fold">
    <summary>Advanced</summary>
    <div class="stack">
      ${
        !skip.includes("timezone") &&
        html`<${TextField} id="timezone" label="Time zone" value=${timezone} place="That of the machine" offers=${zones()}
          note="Such as Europe/Berlin" wrong=${wrongs.timezone} set=${(/** @type {string} */ text) => set({ timezone: text })} />`
      }
      ${
        !skip.includes("locale") &&
        html`<${TextField} id="locale" label="Language" value=${locale} place="That of the machine"
          note="Such as de_DE.UTF-8, where the image has it" wrong=${wrongs.locale}
          set=${(/** @type {string} */ text) => set({ locale: text })} />`
      }
      <fieldset class="several">
        <legend>Leave as the image has it</legend>
        <div class="chips">
          ${STEPS.map(([name, text]) => {
            const off = skip.includes(name);
            const press = () => set({ skip: off ? skip.filter((each) => each !== name) : [...skip, name] });
            return html`<button key=${name} type="button" class="chip" aria-pressed=${off ? "true" : "false"} onClick=${press}>
              ${text}
            </button>`;
          })}
        </div>
      </fieldset>
    </div>
  </details>`;
}
