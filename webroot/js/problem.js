/** What went wrong, as the server says it: what failed, why, and what to do next. */
import { sentence } from "./format.js";

export class Problem extends Error {
  /**
   * @param {string} what
   * @param {{ why?: string, hint?: string, code?: string, status?: number }} [more] status: of HTTP, 0 without an answer
   */
  constructor(what, { why = "", hint = "", code = "failed", status = 0 } = {}) {
    super(why ? `${what}: ${why}` : what);
    this.what = what;
    this.why = why;
    this.hint = hint;
    this.code = code;
    this.status = status;
  }
}

/**
 * @param {unknown} error
 * @returns {Problem} the same, or one made of it
 */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  return new Problem("The page made a mistake", {
    why: error instanceof Error ? error.message : String(error),
  });
}

/**
 * @param {number} status
 * @param {unknown} body the parsed JSON of the answer, or undefined
 * @returns {Problem}
 */
export function problemOf(status, body) {
  const error = /** @type {{ error?: Record<string, unknown> } | null | undefined} */ (body)?.error;
  /** @param {string} key */
  const text = (key) => (typeof error?.[key] === "string" ? error[key] : "");
  const what = text("what") || `The server answered ${status}`;
  return new Problem(sentence(what), { why: text("why"), hint: text("hint"), code: text("code"), status });
}
