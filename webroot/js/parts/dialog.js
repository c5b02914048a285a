/** A question before something that cannot be undone. */
import { html, useEffect, useRef } from "../html.js";
import { Button } from "./button.js";

/**
 * @param {{
 *   title: string, children?: unknown, confirm: string, act: () => Promise<unknown>, close: () => void
 * }} props confirm: the words on the button that does it.  act: closes the dialog when it succeeds
 */
export function Confirm({ title, children, confirm, act, close }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return html`<dialog ref=${dialog} aria-labelledby="confirm-title" onClose=${close}>
    <form method="dialog">
      <h2 id="confirm-title" class="dialog-title">${title}</h2>
      <div class="soft">${children}</div>
      <div class="buttons">
        <button type="submit" class="button" autofocus>Cancel</button>
        <${Button} look="danger main-act" act=${() => act().then(close)}>${confirm}<//>
      </div>
    </form>
  </dialog>`;
}
