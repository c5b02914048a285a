/** What a person fills in for a new container, what is missing of it, and the request that it becomes. */
import { misspelt, nameProblem } from "./names.js";

/**
 * @typedef {import("./parts/kinds.js").Kind} Kind
 * @typedef {object} Order
 * @property {string} name
 * @property {Kind} kind
 * @property {string} path of a file or folder on the machine
 * @property {string} distribution a reference
 * @property {string} registry a reference
 * @property {File | null} file of this device
 * @property {boolean} trusted whether the archive's own ports, folders and autostart count
 * @property {import("./parts/rootlogin.js").PasswordChoice} choice
 * @property {string} password
 * @property {string} keys
 * @property {boolean} keep
 * @property {boolean} start
 * @property {boolean} ownInit of what brings none that is known
 * @property {boolean} noInit of a distribution, which has one
 * @property {string} network
 * @property {string} ports
 */

/** @type {Order} */
export const EMPTY = {
  name: "",
  kind: "builtin",
  path: "",
  distribution: "",
  registry: "",
  file: null,
  trusted: false,
  choice: "random",
  password: "",
  keys: "",
  keep: false,
  start: true,
  ownInit: false,
  noInit: false,
  network: "host",
  ports: "",
};

/** @param {Kind} kind what can be chosen for it */
export function offersOf(kind) {
  return {
    file: kind === "upload" || kind === "archive",
    path: kind === "folder" || kind === "file",
    keep: kind === "distribution" || kind === "registry",
    login: kind === "distribution" || kind === "file",
    init: kind === "upload" || kind === "file" || kind === "folder",
    // An archive brings its settings.
    settings: kind !== "archive",
  };
}

/**
 * @param {Order} order
 * @param {ReadonlyMap<string, unknown> | null} known the containers that there are
 * @param {boolean} tried whether it was sent once: before that only what is typed wrong counts
 * @returns {Record<string, string>} what is wrong, by the id of the field, in their order on the page
 */
export function wrongsOf(order, known, tried) {
  if (!tried) return { name: misspelt(order.name) };
  const { kind } = order;
  const offers = offersOf(kind);
  const absolute = order.path.startsWith("/");
  return {
    name: nameProblem(order.name, known),
    search: kind === "distribution" && !order.distribution ? "Choose a distribution." : "",
    registry: kind === "registry" && !order.registry.trim() ? "Name an image." : "",
    file: offers.file && !order.file ? "Choose the file." : "",
    path: offers.path && !absolute ? "Give an absolute path, such as /data/rootfs." : "",
    password: offers.login && order.choice === "own" && !order.password ? "Type a password." : "",
  };
}

/**
 * @param {Order} order
 * @returns {import("./api.js").Choices["settings"]} those that are not the default
 */
export function settingsOf({ kind, ownInit, noInit, network, ports }) {
  const offers = offersOf(kind);
  /** @type {import("./api.js").Choices["settings"]} */
  const settings = { ...(ownInit && offers.init && { boot: true }) };
  if (!offers.settings) return settings;
  // Without a word of the user's, an image that has an init runs it: here the box tells.
  if (!ownInit && (kind === "upload" || kind === "file")) settings.boot = false;
  if (kind === "distribution" && noInit) settings.boot = false;
  if (network !== "host") settings["network.mode"] = network;
  const wanted = ports.split(/[\s,]+/).filter(Boolean);
  if (network === "nat" && wanted.length > 0) settings["network.ports"] = wanted;
  return settings;
}

/**
 * @param {Order} order whose kind is not a file of this device
 * @returns {import("./api.js").Source}
 */
export function sourceOf({ kind, path, distribution, registry, choice, password, keys, keep }) {
  if (kind === "folder") return { kind, path };
  const reference = {
    distribution,
    registry: `docker://${registry.trim().replace(/^docker:\/\//, "")}`,
    file: path,
  }[/** @type {string} */ (kind)];
  if (reference === undefined) return { kind: "builtin" };
  const offers = offersOf(kind);
  /** @type {import("./api.js").ImageSource} */
  const source = { kind: "image", reference };
  if (offers.login && choice === "own") source.password = password;
  if (offers.login && choice === "locked") source.lock_password = true;
  if (offers.login && keys.trim()) source.ssh_keys = keys;
  if (offers.keep && keep) source.keep = true;
  return source;
}
