/** The state that all pages share, kept true by the event stream. */
import { guardStatus, listContainers, listJobs } from "./api.js";
import { useEffect, useState } from "./html.js";
import { parseContainer, parseGuard, parseJob, parseWay } from "./model.js";
import { asProblem } from "./problem.js";
import { Shape } from "./shape.js";
import { EventLine } from "./transport.js";

/** @typedef {import("./model.js").Container} Container */
/** @typedef {import("./model.js").Guard} Guard */
/** @typedef {import("./model.js").Job} Job */
/** @typedef {import("./problem.js").Problem} Problem */
/**
 * @typedef {object} Live
 * @property {"connecting" | "live" | "lost"} link
 * @property {Problem | null} problem why nothing could be loaded
 * @property {ReadonlyMap<string, Container> | null} containers null before the first answer
 * @property {ReadonlyMap<string, Job>} jobs
 * @property {Guard | null} guard null before the first answer
 * @property {number} changes how many changes of the network were told
 */
/** @typedef {{ text: string, start: boolean, problem: string }} ConsolePiece */

/** Milliseconds that a hidden tab keeps its stream: the server may sleep when nobody looks. */
const HIDDEN = 15_000;

/** @type {Live} */
const NOTHING = {
  link: "connecting",
  problem: null,
  containers: null,
  jobs: new Map(),
  guard: null,
  changes: 0,
};
let state = NOTHING;
/** @type {Set<() => void>} */
const listeners = new Set();
/** @type {EventLine | null} */
let line = null;
/** @type {{ name: string, onPiece: (piece: ConsolePiece) => void } | null} */
let watched = null;
let version = 0;
/** How many changes of each container are under way. @type {Map<string, number>} */
const changing = new Map();

/** @param {Partial<Live>} change */
function set(change) {
  state = { ...state, ...change };
  for (const listener of listeners) listener();
}

/** @returns {Live} the present state; the component is drawn again when it changes */
export function useLive() {
  const [, redraw] = useState(0);
  const drawn = state;
  useEffect(() => {
    const changed = () => redraw((/** @type {number} */ count) => count + 1);
    listeners.add(changed);
    // News between the drawing and now were heard by nobody.
    if (state !== drawn) changed();
    return () => {
      listeners.delete(changed);
    };
  }, []);
  return state;
}

/** @param {Container} container an answer that is newer than what is known */
export function learn(container) {
  version += 1;
  set({ containers: new Map(state.containers ?? []).set(container.name, container) });
}

/** @param {string} name */
export function forget(name) {
  version += 1;
  const containers = new Map(state.containers ?? []);
  containers.delete(name);
  set({ containers });
}

/** @param {Job} job */
export function learnJob(job) {
  version += 1;
  const known = state.jobs.get(job.id);
  if (known && known.state !== "running" && job.state === "running") return;
  set({ jobs: new Map(state.jobs).set(job.id, job) });
}

/** @param {Guard} guard */
export function learnGuard(guard) {
  version += 1;
  set({ guard });
}

/**
 * Do something that changes a container and answers with it: news of before that answer are not drawn, or a
 * switch that was just set would jump back, and a second one be set by what is past.
 * @param {string} name
 * @param {() => Promise<Container>} work
 */
export async function change(name, work) {
  changing.set(name, (changing.get(name) ?? 0) + 1);
  let answer = null;
  try {
    answer = await work();
  } finally {
    changing.set(name, (changing.get(name) ?? 0) - 1);
    if (!answer) reload();
  }
  learn(answer);
}

/** Load everything; again when something changed meanwhile: what was asked for before that is past. */
export async function reload() {
  try {
    for (let tries = 0; tries < 3; tries += 1) {
      const before = version;
      const [containers, jobs, guard] = await Promise.all([listContainers(), listJobs(), guardStatus()]);
      if (before !== version && tries < 2 && state.containers) continue;
      set({
        problem: null,
        containers: new Map(containers.map((each) => [each.name, withNewest(each)])),
        jobs: new Map(jobs.map((each) => [each.id, each])),
        guard,
      });
      if (before === version) return;
    }
  } catch (error) {
    set({ problem: asProblem(error) });
  }
}

/** @param {Container} container as it was when the server told of it */
function hear(container) {
  if (!changing.get(container.name)) learn(withNewest(container));
}

/** @param {Shape} news where each container's traffic goes from now on */
function hearNetwork(news) {
  const paths = news.object("paths");
  const containers = new Map(state.containers ?? []);
  for (const [name, container] of containers) {
    const path = parseWay(paths.maybe(name));
    if (container.network && path)
      containers.set(name, { ...container, network: { ...container.network, path } });
  }
  set({ changes: state.changes + 1, containers: state.containers && containers });
}

/**
 * News and lists may come after an answer that is newer: then what is known of the settings stays.
 * @param {Container} container
 * @returns {Container}
 */
function withNewest(container) {
  const known = state.containers?.get(container.name);
  if (!known || known.written <= container.written) return container;
  return { ...container, settings: known.settings, written: known.written };
}

/**
 * @param {string} event
 * @param {unknown} data
 */
function onEvent(event, data) {
  if (event === "reset" && watched) connect();
  else if (event === "hello" || event === "reset" || event === "damaged") reload();
  else if (event === "container") hear(parseContainer(data));
  else if (event === "removed") forget(new Shape(data, "event").text("name"));
  else if (event === "job") learnJob(parseJob(data));
  else if (event === "guard") learnGuard(parseGuard(data));
  else if (event === "network") hearNetwork(new Shape(data, "network"));
  else if (event === "log") {
    const shape = new Shape(data, "log");
    if (watched?.name !== shape.text("name")) return;
    const problem = shape.maybe("error")?.text("what") ?? "";
    watched.onPiece({ text: shape.text("text"), start: shape.flag("start", false), problem });
  }
}

/** Open the stream with what is watched now. */
function connect() {
  line?.close();
  const query = watched ? `?log=${encodeURIComponent(watched.name)}` : "";
  line = new EventLine(`/api/v1/events${query}`, onEvent, (link, problem) => {
    set({ link, problem: link === "lost" && !state.containers ? (problem ?? null) : state.problem });
  });
  line.open();
}

/**
 * Watch a container's console as well.
 * @param {string} name
 * @param {(piece: ConsolePiece) => void} onPiece
 * @returns {() => void} ends it
 */
export function watchConsole(name, onPiece) {
  const mine = { name, onPiece };
  watched = mine;
  if (line) connect();
  return () => {
    if (watched !== mine) return;
    watched = null;
    // The next page may want another console: one reconnection is enough for both.
    queueMicrotask(() => {
      if (line && !watched) connect();
    });
  };
}

/**
 * Keep the state true while the page is seen.
 * @returns {() => void} ends it
 */
export function stayLive() {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let hiding;
  const seen = () => {
    clearTimeout(hiding);
    if (!document.hidden && !line) connect();
    if (document.hidden) {
      hiding = setTimeout(() => {
        line?.close();
        line = null;
      }, HIDDEN);
    }
  };
  document.addEventListener("visibilitychange", seen);
  seen();
  return () => {
    clearTimeout(hiding);
    document.removeEventListener("visibilitychange", seen);
    line?.close();
    line = null;
    set(NOTHING);
  };
}
