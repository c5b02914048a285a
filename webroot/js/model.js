/** What the server tells, as typed values. */
import { sentence } from "./format.js";
import { Shape } from "./shape.js";

/**
 * @typedef {"stopped" | "starting" | "running" | "stopping" | "backoff"} StateName
 * @typedef {{ what: string, why: string, hint: string }} Reason
 * @typedef {object} Container
 * @property {string} name
 * @property {StateName} state
 * @property {number | null} pid
 * @property {number | null} started Unix seconds
 * @property {string} exit how it ended last, or empty
 * @property {number} restarts
 * @property {string} rootfs
 * @property {Settings} settings
 * @property {Reason | null} damaged
 * @typedef {object} Settings
 * @property {string} image
 * @property {string[]} command
 * @property {boolean} boot
 * @property {string} hostname
 * @property {string} user
 * @property {boolean} readOnly
 * @property {boolean} ephemeral
 * @property {string[]} binds
 * @property {string} network
 * @property {string[]} ports
 * @property {boolean} autostart
 * @property {string} restart
 * @typedef {object} Job
 * @property {string} id
 * @property {string} kind
 * @property {string} container
 * @property {string} phase
 * @property {number} done
 * @property {number | null} total
 * @property {number | null} rate
 * @property {number | null} eta seconds
 * @property {"running" | "done" | "failed" | "cancelled"} state
 * @property {Reason | null} error
 */

const STATES = ["stopped", "starting", "running", "stopping", "backoff"];

/**
 * @param {Shape | null} shape
 * @returns {Reason | null}
 */
function parseReason(shape) {
  return (
    shape && { what: sentence(shape.text("what")), why: shape.text("why", ""), hint: shape.text("hint", "") }
  );
}

/**
 * @param {unknown} value
 * @param {string} [path]
 * @returns {Container}
 */
export function parseContainer(value, path = "container") {
  const shape = new Shape(value, path);
  const state = shape.object("state");
  const name = state.text("state", "stopped");
  return {
    name: shape.text("name"),
    state: /** @type {StateName} */ (STATES.includes(name) ? name : "stopped"),
    pid: state.number("pid"),
    started: state.number("started"),
    exit: state.text("exit", ""),
    restarts: state.number("restarts") ?? 0,
    rootfs: shape.text("rootfs", ""),
    settings: parseSettings(shape.object("settings")),
    damaged: parseReason(shape.maybe("damaged")),
  };
}

/**
 * @param {Shape} shape
 * @returns {Settings}
 */
function parseSettings(shape) {
  const network = shape.maybe("network");
  return {
    image: shape.text("image", ""),
    command: shape.texts("command"),
    boot: shape.flag("boot", false),
    hostname: shape.text("hostname", ""),
    user: shape.text("user", ""),
    readOnly: shape.flag("read_only", false),
    ephemeral: shape.flag("ephemeral", false),
    binds: shape.texts("binds"),
    network: network?.text("mode", "host") ?? "host",
    ports: network?.texts("ports") ?? [],
    autostart: shape.maybe("autostart")?.flag("enabled", false) ?? false,
    restart: shape.maybe("restart")?.text("policy", "no") ?? "no",
  };
}

/**
 * @param {unknown} value
 * @param {string} [path]
 * @returns {Job}
 */
export function parseJob(value, path = "job") {
  const shape = new Shape(value, path);
  const state = shape.text("state");
  return {
    id: shape.text("id"),
    kind: shape.text("kind"),
    container: shape.text("container", ""),
    phase: shape.text("phase", ""),
    done: shape.number("done") ?? 0,
    total: shape.number("total"),
    rate: shape.number("rate"),
    eta: shape.number("eta"),
    state: state === "done" || state === "failed" || state === "cancelled" ? state : "running",
    error: parseReason(shape.maybe("error")),
  };
}
