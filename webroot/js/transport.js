/** The only module that talks to the network. */
import { asProblem, Problem, problemOf } from "./problem.js";
import { session, setSession } from "./session.js";
import { EventParser } from "./sse.js";

const UNREACHABLE = { hint: "Check that nspawn serve is running; this page tries again by itself." };
/** Milliseconds before the first and the slowest try to open the event stream again. */
const FIRST_RETRY = 500;
const LAST_RETRY = 10_000;
/** Milliseconds without a sign of life after which the stream counts as dead; the server sends one every 5 s. */
const SILENCE = 20_000;

/** @returns {Record<string, string>} */
function headers() {
  const value = session();
  return value ? { Authorization: `Bearer ${value}` } : {};
}

/**
 * @param {Response} answer
 * @returns {Promise<unknown>}
 */
async function read(answer) {
  const text = await answer.text();
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  if (answer.ok && body !== undefined) return body;
  throw problemOf(answer.status, body);
}

/**
 * One request and its answer.
 * @param {"GET" | "POST" | "PATCH" | "DELETE"} method
 * @param {string} path from /api on
 * @param {{ body?: unknown, signal?: AbortSignal }} [options] body: sent as JSON
 * @returns {Promise<unknown>} the answer's JSON
 * @throws {Problem}
 */
export async function send(method, path, { body, signal } = {}) {
  const change = method !== "GET";
  /** @type {RequestInit} */
  const init = { method, headers: headers(), cache: "no-store" };
  if (signal) init.signal = signal;
  if (change) {
    init.headers = { ...init.headers, "Content-Type": "application/json", "X-Nspawn": "1" };
    init.body = JSON.stringify(body ?? {});
  }
  let answer;
  try {
    answer = await fetch(path, init);
  } catch (error) {
    throw new Problem("The server cannot be reached", { why: asProblem(error).why, ...UNREACHABLE });
  }
  return read(answer).catch((problem) => {
    if (problem.status === 401 && session() && !path.endsWith("/login")) setSession("");
    throw problem;
  });
}

/**
 * Send a file as it is.  XMLHttpRequest, because fetch tells nothing of how far it is.
 * @param {string} path
 * @param {Blob} file
 * @param {{ onProgress: (sent: number) => void, signal: AbortSignal }} options
 * @returns {Promise<unknown>} the answer's JSON
 */
export function upload(path, file, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("X-Nspawn", "1");
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onload = () => {
      let body;
      try {
        body = JSON.parse(request.responseText);
      } catch {
        body = undefined;
      }
      if (request.status < 300 && body !== undefined) resolve(body);
      else reject(problemOf(request.status, body));
    };
    request.onerror = () => reject(new Problem("The upload broke off", UNREACHABLE));
    request.onabort = () => reject(new Problem("The upload was cancelled", { code: "cancelled" }));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/**
 * Fetch a file.  XMLHttpRequest here as well: it tells how far it is, and browsers put a large Blob onto the disk.
 * A link could not carry the Authorization header, and a browser would keep what broke off in the middle.
 * @param {string} path
 * @param {{ onProgress: (got: number) => void, signal: AbortSignal }} options
 * @returns {Promise<{ file: Blob, name: string }>}
 */
export function download(path, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", path);
    request.responseType = "blob";
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.onprogress = (event) => onProgress(event.loaded);
    request.onload = async () => {
      const file = /** @type {Blob} */ (request.response);
      const told = request.getResponseHeader("Content-Disposition") ?? "";
      if (request.status === 200) resolve({ file, name: /filename="([^"]+)"/.exec(told)?.[1] ?? "download" });
      else reject(await read(new Response(file, { status: request.status })).catch(asProblem));
    };
    request.onerror = () =>
      reject(
        new Problem("The download broke off", {
          hint: "The container may have been thawed or stopped meanwhile. Try again; an export into a file tells more.",
        }),
      );
    request.onabort = () => reject(new Problem("The download was cancelled", { code: "cancelled" }));
    signal.addEventListener("abort", () => request.abort());
    request.send();
  });
}

/**
 * The event stream: opened, kept open, opened again from where it was.
 * fetch and not EventSource, which can send no Authorization header.
 */
export class EventLine {
  #path;
  #onEvent;
  #onLink;
  /** @type {AbortController | null} */
  #abort = null;
  #lastId = "";
  #retry = FIRST_RETRY;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {string} path
   * @param {(event: string, data: unknown) => void} onEvent
   * @param {(link: "connecting" | "live" | "lost", problem?: Problem) => void} onLink
   */
  constructor(path, onEvent, onLink) {
    this.#path = path;
    this.#onEvent = onEvent;
    this.#onLink = onLink;
  }

  open() {
    this.close();
    const abort = new AbortController();
    this.#abort = abort;
    this.#onLink("connecting");
    this.#run(abort)
      .catch(asProblem)
      .then((problem) => {
        if (this.#abort !== abort) return;
        abort.abort();
        this.#onLink("lost", problem ?? undefined);
        if (problem?.status === 401) {
          setSession("");
          return;
        }
        this.#timer = setTimeout(() => this.open(), this.#retry * (0.75 + Math.random() / 2));
        this.#retry = Math.min(this.#retry * 2, LAST_RETRY);
      });
  }

  close() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
  }

  /**
   * @param {AbortController} abort
   * @returns {Promise<null>} when the server ended the stream
   */
  async #run(abort) {
    const wanted = headers();
    if (this.#lastId) wanted["Last-Event-ID"] = this.#lastId;
    const answer = await fetch(this.#path, { headers: wanted, signal: abort.signal, cache: "no-store" });
    if (!answer.ok || !answer.body) {
      await read(answer);
      throw new Problem("The event stream has no body");
    }
    this.#onLink("live");
    this.#retry = FIRST_RETRY;
    const parser = new EventParser();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const watchdog = setTimeout(() => abort.abort(), SILENCE);
      const { done, value } = await reader.read().finally(() => clearTimeout(watchdog));
      if (done) return null;
      for (const event of parser.push(value)) {
        if (this.#abort !== abort) return null;
        if (event.id) this.#lastId = event.id;
        this.#onEvent(event.event, JSON.parse(event.data));
      }
    }
  }
}
