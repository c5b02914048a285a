/** Reads untrusted JSON; an error names the attribute's path. */
import { Problem } from "./problem.js";

/**
 * @param {string} path
 * @param {string} expected
 * @returns {never}
 */
function wrong(path, expected) {
  throw new Problem("The server's answer cannot be read", {
    why: `${path} is not ${expected}`,
    hint: "The page and the server may be of different versions: reload the page.",
  });
}

export class Shape {
  #value;
  #path;

  /**
   * @param {unknown} value
   * @param {string} path
   */
  constructor(value, path) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) wrong(path, "an object");
    this.#value = /** @type {Record<string, unknown>} */ (value);
    this.#path = path;
  }

  /** @param {string} key */
  #at(key) {
    return `${this.#path}.${key}`;
  }

  /**
   * @param {string} key
   * @param {string} [absent]
   * @returns {string}
   */
  text(key, absent) {
    const value = this.#value[key] ?? absent;
    return typeof value === "string" ? value : wrong(this.#at(key), "a text");
  }

  /**
   * @param {string} key
   * @returns {number | null} null when it is absent or null
   */
  number(key) {
    const value = this.#value[key] ?? null;
    return value === null || typeof value === "number" ? value : wrong(this.#at(key), "a number");
  }

  /**
   * @param {string} key
   * @param {boolean} [absent]
   */
  flag(key, absent) {
    const value = this.#value[key] ?? absent;
    return typeof value === "boolean" ? value : wrong(this.#at(key), "true or false");
  }

  /**
   * @param {string} key
   * @returns {boolean | null} null when it is absent or null
   */
  known(key) {
    return (this.#value[key] ?? null) === null ? null : this.flag(key);
  }

  /** @param {string} key */
  object(key) {
    return new Shape(this.#value[key], this.#at(key));
  }

  /**
   * @param {string} key
   * @returns {Shape | null} null when it is absent or null
   */
  maybe(key) {
    return (this.#value[key] ?? null) === null ? null : this.object(key);
  }

  /**
   * @template T
   * @param {string} key
   * @param {(item: unknown, path: string) => T} parse
   * @returns {T[]} an empty list when it is absent
   */
  list(key, parse) {
    const value = this.#value[key] ?? [];
    if (!Array.isArray(value)) return wrong(this.#at(key), "a list");
    return value.map((item, index) => parse(item, `${this.#at(key)}[${index}]`));
  }

  /** @param {string} key */
  texts(key) {
    return this.list(key, (item, path) => (typeof item === "string" ? item : wrong(path, "a text")));
  }

  /** @returns {[string, unknown][]} */
  entries() {
    return Object.entries(this.#value);
  }
}
