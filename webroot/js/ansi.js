/** Console output to lines of plain and coloured text.  Cursor movement is for terminals: it is left out. */

/** @typedef {{ text: string, style: string }} Span */

/** Longest line in characters; what is longer goes on in a new line. */
const LONGEST = 4000;

// CSI (parameters and a final byte), OSC (to BEL or ST), a character set, or two bytes: ECMA-48 and xterm's ctlseqs.
const SEQUENCE =
  /^\u001b(?:\[([0-9;:?<=>!"' $]*)([@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[()*+][\s\S]|[^[\]()*+])/;
const LONGEST_SEQUENCE = 256;
const PLAIN = /[^\u0000-\u0008\u000a-\u001f\u007f]+/y;

export class ConsoleText {
  #rest = "";
  #bold = false;
  #dim = false;
  #colour = -1;
  #returned = false;
  /** @type {Span[]} */
  #line = [];
  #length = 0;

  /** @returns {readonly Span[]} the line that has no end yet */
  get last() {
    return this.#line;
  }

  /**
   * @param {string} piece cut anywhere
   * @returns {(readonly Span[])[]} the lines that it ends
   */
  push(piece) {
    /** @type {Span[][]} */
    const lines = [];
    const text = this.#rest + piece;
    this.#rest = "";
    let index = 0;
    while (index < text.length) {
      const char = text.charAt(index);
      PLAIN.lastIndex = index;
      const plain = PLAIN.exec(text)?.[0];
      if (plain) {
        const part = plain.slice(0, LONGEST - this.#length);
        this.#add(part);
        index += part.length;
        if (this.#length >= LONGEST) lines.push(this.#take());
      } else if (char === "\n") {
        lines.push(this.#take());
        index += 1;
      } else if (char === "\u001b") {
        const left = text.slice(index, index + LONGEST_SEQUENCE);
        const found = SEQUENCE.exec(left);
        if (found) this.#obey(found[1] ?? "", found[2] ?? "");
        else if (left.length < LONGEST_SEQUENCE) {
          this.#rest = text.slice(index);
          break;
        }
        index += found ? found[0].length : 1;
      } else {
        if (char === "\r") this.#returned = true;
        index += 1;
      }
    }
    return lines;
  }

  #take() {
    const line = this.#line;
    this.#line = [];
    this.#length = 0;
    this.#returned = false;
    return line;
  }

  /** @param {string} text */
  #add(text) {
    // A return without a new line: progress is drawn over what was there.
    if (this.#returned) this.#take();
    const style = this.#style();
    const last = this.#line.at(-1);
    if (last && last.style === style) last.text += text;
    else this.#line.push({ text, style });
    this.#length += text.length;
  }

  #style() {
    const parts = [];
    if (this.#bold) parts.push("bold");
    if (this.#dim) parts.push("dim");
    if (this.#colour >= 0) parts.push(`c${this.#colour}`);
    return parts.join(" ");
  }

  /**
   * @param {string} parameters
   * @param {string} final
   */
  #obey(parameters, final) {
    if (final !== "m") return;
    const codes = parameters.split(/[;:]/).map(Number);
    for (let index = 0; index < codes.length; index += 1) {
      const code = codes[index] ?? 0;
      if (code === 0) {
        this.#bold = false;
        this.#dim = false;
        this.#colour = -1;
      } else if (code === 1) this.#bold = true;
      else if (code === 2) this.#dim = true;
      else if (code === 22) {
        this.#bold = false;
        this.#dim = false;
      } else if (code >= 30 && code <= 37) this.#colour = code - 30;
      else if (code >= 90 && code <= 97) this.#colour = code - 82;
      else if (code === 39) this.#colour = -1;
      else if (code === 38 || code === 48) {
        const indexed = codes[index + 1] === 5;
        const colour = codes[index + 2] ?? 0;
        if (code === 38) this.#colour = indexed && colour < 16 ? colour : -1;
        index += indexed ? 2 : 4;
      }
    }
  }
}
