import { login } from "../api.js";
import { useTitle } from "../frame.js";
import { html, useState } from "../html.js";
import { Icon } from "../parts/icons.js";
import { ProblemBox } from "../parts/problem.js";
import { asProblem } from "../problem.js";
import { setSession } from "../session.js";

/** @typedef {import("../problem.js").Problem} Problem */

/** @param {{ problem: Problem | null }} props */
export function LoginPage({ problem }) {
  useTitle("Log in");
  const [wrong, setWrong] = useState(problem);
  const [busy, setBusy] = useState(false);

  /** @param {SubmitEvent} event */
  const submit = async (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    const token = String(new FormData(form).get("token") ?? "").trim();
    if (busy || !token) return;
    setBusy(true);
    try {
      setSession(await login({ token }));
    } catch (error) {
      setWrong(asProblem(error));
      setBusy(false);
    }
  };

  return html`<main class="login">
    <div>
      <span class="brand"><${Icon} name="mark" size=${34} />nspawn</span>
      <form class="card padded" onSubmit=${submit}>
        <h1>Log in</h1>
        <${ProblemBox} problem=${wrong} />
        <div class="field">
          <label for="token">Token of this machine</label>
          <input id="token" name="token" type="password" class="mono" required autocomplete="current-password"
            autocapitalize="none" spellcheck=${false} aria-describedby="token-note" />
          <p class="note" id="token-note">As root, <code>nspawn token</code> shows it.</p>
        </div>
        <button type="submit" class="button main-act" aria-busy=${busy ? "true" : undefined}>Log in</button>
      </form>
      <p class="soft small">Quicker: on a phone, the module's button in the root manager logs in.
        Anywhere, as root, <code>nspawn login</code> prints an address that logs a browser in once.</p>
    </div>
  </main>`;
}
