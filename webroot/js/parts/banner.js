/** What stands above every page while the crash guard holds the containers back. */
import { plainWords } from "../guard.js";
import { html } from "../html.js";
import { useLive } from "../live.js";
import { Icon } from "./icons.js";

export function GuardBanner() {
  const { guard } = useLive();
  if (!guard?.blocked) return null;
  const { title, short } = plainWords(guard);
  return html`<a class="banner" href="#/guard">
    <${Icon} name="shield" size=${26} />
    <span><strong>${title}</strong><span>${short}</span></span>
    <${Icon} name="next" size=${20} />
  </a>`;
}
