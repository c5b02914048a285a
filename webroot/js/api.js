/** One function for each endpoint of the server (docs/openapi.yaml). */
import { parseCatalog } from "./catalog.js";
import { parseKept } from "./kept.js";
import { parseContainer, parseGuard, parseJob } from "./model.js";
import { parseNetwork } from "./network.js";
import { Shape } from "./shape.js";
import { download, send, upload } from "./transport.js";

/** @typedef {import("./model.js").Container} Container */
/** @typedef {import("./model.js").Guard} Guard */
/** @typedef {import("./model.js").Job} Job */
/** @typedef {{ password?: string, lock_password?: boolean, ssh_keys?: string, keep?: boolean }} ImageWish */
/** @typedef {{ kind: "image", reference: string } & ImageWish} ImageSource */
/** @typedef {{ kind: "builtin" } | { kind: "folder", path: string } | ImageSource} Source */

const BASE = "/api/v1";

/** @param {string} name */
const at = (name) => `${BASE}/containers/${encodeURIComponent(name)}`;

/**
 * @param {{ token: string } | { code: string }} proof
 * @returns {Promise<string>} the session
 */
export async function login(proof) {
  return new Shape(await send("POST", `${BASE}/login`, { body: proof }), "login").text("session");
}

/** @returns {Promise<Container[]>} */
export async function listContainers() {
  return new Shape(await send("GET", `${BASE}/containers`), "answer").list("containers", parseContainer);
}

/**
 * @typedef {{ start: boolean, settings: Record<string, string | boolean | string[]> }} Choices
 * start: when it is complete; settings: by dotted key, those that are not the default
 */

/**
 * @param {string} name
 * @param {Source} source
 * @param {Choices} choices
 * @returns {Promise<Job>}
 */
export async function createContainer(name, source, { start, settings }) {
  const body = { name, source, start, ...(Object.keys(settings).length > 0 && { settings }) };
  return parseJob(await send("POST", `${BASE}/containers`, { body }));
}

/**
 * @param {string} name
 * @param {Blob} file
 * @param {Choices} choices
 * @param {{ onProgress: (sent: number) => void, signal: AbortSignal }} options
 * @returns {Promise<Job>}
 */
export async function uploadContainer(name, file, { start, settings }, options) {
  const query = new URLSearchParams({ start: start ? "1" : "0", image: "1" });
  for (const [key, value] of Object.entries(settings)) {
    query.append("set", `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  }
  return parseJob(await upload(`${at(name)}/upload?${query}`, file, options));
}

/**
 * @param {string} name
 * @param {Blob} file what an export wrote
 * @param {{ start: boolean, trusted: boolean }} choices trusted: what reaches out of the container counts, too
 * @param {{ onProgress: (sent: number) => void, signal: AbortSignal }} options
 * @returns {Promise<Job>}
 */
export async function importContainer(name, file, { start, trusted }, options) {
  const query = new URLSearchParams({
    import: "1",
    start: start ? "1" : "0",
    trusted: trusted ? "1" : "0",
  });
  return parseJob(await upload(`${at(name)}/upload?${query}`, file, options));
}

/**
 * @param {string} name
 * @param {{ name: string, start: boolean }} copy
 * @returns {Promise<Job>}
 */
export async function cloneContainer(name, copy) {
  return parseJob(await send("POST", `${at(name)}/clone`, { body: copy }));
}

/**
 * @param {string} name
 * @param {{ path: string, force: boolean }} target on the machine
 * @returns {Promise<Job>}
 */
export async function exportContainer(name, target) {
  return parseJob(await send("POST", `${at(name)}/export`, { body: target }));
}

/**
 * @param {string} name
 * @param {{ onProgress: (got: number) => void, signal: AbortSignal }} options
 * @returns {Promise<{ file: Blob, name: string }>} the archive, and what the server calls it
 */
export async function fetchExport(name, options) {
  return download(`${at(name)}/export`, options);
}

/**
 * @param {string} name
 * @param {"start" | "stop" | "restart" | "kill" | "freeze" | "thaw"} verb
 * @returns {Promise<Container>}
 */
export async function actOn(name, verb) {
  return parseContainer(await send("POST", `${at(name)}/${verb}`));
}

/**
 * @param {string} name
 * @param {Record<string, string | number | boolean | string[]>} changes settings by dotted key
 * @returns {Promise<Container>}
 */
export async function changeContainer(name, changes) {
  return parseContainer(await send("PATCH", at(name), { body: changes }));
}

/** @param {string} name */
export async function deleteContainer(name) {
  await send("DELETE", at(name));
}

/** @returns {Promise<Job[]>} */
export async function listJobs() {
  return new Shape(await send("GET", `${BASE}/jobs`), "answer").list("jobs", parseJob);
}

/** @param {string} id */
export async function cancelJob(id) {
  return parseJob(await send("DELETE", `${BASE}/jobs/${encodeURIComponent(id)}`));
}

/**
 * @param {string} id of a job that has one
 * @returns {Promise<string>} its password; a second time there is none
 */
export async function takeSecret(id) {
  const answer = await send("POST", `${BASE}/jobs/${encodeURIComponent(id)}/secret`);
  return new Shape(answer, "answer").text("secret");
}

/** @returns {Promise<import("./catalog.js").Catalog>} what the image server has for this machine */
export async function imageCatalog() {
  return parseCatalog(await send("GET", `${BASE}/images/catalog`));
}

/** @returns {Promise<import("./kept.js").Kept>} the images that are kept, and why some cannot be listed */
export async function keptImages() {
  return parseKept(await send("GET", `${BASE}/images`));
}

/**
 * @param {string} id
 * @returns {Promise<number>} bytes that this freed
 */
export async function removeImage(id) {
  const answer = await send("DELETE", `${BASE}/images/${encodeURIComponent(id)}`);
  return new Shape(answer, "answer").number("bytes") ?? 0;
}

/**
 * @param {boolean} all also the images, not only what none of them needs
 * @returns {Promise<Job>}
 */
export async function pruneImages(all) {
  return parseJob(await send("POST", `${BASE}/images/prune`, { body: { all } }));
}

/** @returns {Promise<Job>} */
export async function verifyImages() {
  return parseJob(await send("POST", `${BASE}/images/verify`));
}

/** @returns {Promise<Shape>} the report on the machine; its page reads it */
export async function hostReport() {
  return new Shape(await send("GET", `${BASE}/host`), "host");
}

/** @returns {Promise<Shape>} what changes from minute to minute: memory, disk, load, battery, temperatures */
export async function readings() {
  return new Shape(await send("GET", `${BASE}/host/readings`), "readings");
}

/** @returns {Promise<import("./network.js").Network>} */
export async function networkStatus() {
  return parseNetwork(await send("GET", `${BASE}/network`));
}

/**
 * @param {string} name
 * @returns {Promise<{ story: string[], operations: string[] }>} why its traffic goes where it goes
 */
export async function explainContainer(name) {
  const path = `${BASE}/network/containers/${encodeURIComponent(name)}`;
  const shape = new Shape(await send("GET", path), "explanation");
  return { story: shape.texts("story"), operations: shape.texts("operations") };
}

/** @param {boolean} force also while containers use it */
export async function takeNetworkDown(force) {
  await send("POST", `${BASE}/network/down`, { body: { force } });
}

/** @returns {Promise<Guard>} */
export async function guardStatus() {
  return parseGuard(await send("GET", `${BASE}/guard`));
}

/**
 * @param {{ action: "try-again" } | { action: "never" | "allow", feature: string }} decision
 * @returns {Promise<Guard>}
 */
export async function decideGuard(decision) {
  return parseGuard(await send("POST", `${BASE}/guard`, { body: decision }));
}
