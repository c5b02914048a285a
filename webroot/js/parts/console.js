/** A container's console, live.  Lines are added to the document one by one: there may be thousands. */
import { ConsoleText } from "../ansi.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { watchConsole } from "../live.js";
import { Icon } from "./icons.js";

/** @typedef {readonly import("../ansi.js").Span[]} Line */

/** Lines that stay in the document. */
const MOST_LINES = 2000;
/** Pixels from the end that still count as the end. */
const NEAR = 24;

/** @param {Line} line */
function lineNode(line) {
  const node = document.createElement("div");
  node.className = "console-line";
  for (const { text, style } of line) {
    if (!style) {
      node.append(text);
      continue;
    }
    const span = document.createElement("span");
    span.className = style;
    span.textContent = text;
    node.append(span);
  }
  return node;
}

/** The lines in the document; the last of them may still grow. */
class Lines {
  #box;
  #text = new ConsoleText();
  /** @type {HTMLElement | null} */
  #open = null;

  /** @param {HTMLElement} box */
  constructor(box) {
    this.#box = box;
  }

  clear() {
    this.#text = new ConsoleText();
    this.#open = null;
    this.#box.replaceChildren();
  }

  /** @param {string} piece */
  push(piece) {
    const made = document.createDocumentFragment();
    for (const line of this.#text.push(piece)) made.append(lineNode(line));
    this.#open?.remove();
    this.#open = this.#text.last.length > 0 ? lineNode(this.#text.last) : null;
    if (this.#open) made.append(this.#open);
    this.#box.append(made);
    while (this.#box.childElementCount > MOST_LINES) this.#box.firstElementChild?.remove();
  }
}

/** @param {{ name: string, running: boolean }} props */
export function Console({ name, running }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const view = useRef(/** @type {HTMLElement | null} */ (null));
  const [follows, setFollows] = useState(true);
  const following = useRef(true);
  const [empty, setEmpty] = useState(true);
  const [problem, setProblem] = useState("");

  /** Where we have scrolled to: the event of that comes later, perhaps after a pause, and is nobody's wish. */
  const ours = useRef(-1);

  const toEnd = () => {
    if (!view.current) return;
    view.current.scrollTop = view.current.scrollHeight;
    ours.current = view.current.scrollTop;
  };

  /** @param {boolean} on */
  const follow = (on) => {
    following.current = on;
    setFollows(on);
    if (on) toEnd();
  };

  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const lines = new Lines(element);
    lines.clear();
    return watchConsole(name, (piece) => {
      if (piece.start) lines.clear();
      lines.push(piece.text);
      setProblem(piece.problem);
      setEmpty(element.childElementCount === 0);
      if (following.current) toEnd();
    });
  }, [name]);

  const scrolled = () => {
    const element = view.current;
    if (!element || element.scrollTop === ours.current) return;
    ours.current = -1;
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR;
    if (atEnd !== following.current) follow(atEnd);
  };

  return html`<section class="console" aria-label="Console">
    <div class="console-head">
      <h2>Console</h2>
      <button type="button" class="button quiet" aria-pressed=${follows ? "true" : "false"} onClick=${() => follow(!follows)}>
        <${Icon} name=${follows ? "pause" : "down"} size=${16} />
        ${follows ? "Pause" : "Follow"}
      </button>
    </div>
    <div ref=${view} class="console-text" tabindex="0" role="log" aria-live="off" aria-label=${`Console output of ${name}`} onScroll=${scrolled}>
      ${problem && html`<p class="c1">${problem}</p>`}
      ${empty && html`<p class="console-empty">${running ? "Nothing was printed yet." : "The output appears here once the container runs."}</p>`}
      <div ref=${box}></div>
    </div>
    <p class="console-note">For reading. A shell, in a terminal of this machine: <code>nspawn shell ${name}</code></p>
  </section>`;
}
