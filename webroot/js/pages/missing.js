import { useTitle } from "../frame.js";
import { html } from "../html.js";

export function MissingPage() {
  useTitle("Nothing here");
  return html`<div class="page">
    <div class="card empty">
      <h1>Nothing here</h1>
      <p>This address leads to no page.</p>
      <a class="button main-act" href="#/">Show the containers</a>
    </div>
  </div>`;
}
