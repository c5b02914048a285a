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
 * @property {number} written when the settings were, Unix seconds
 * @property {Reason | null} damaged
 * @property {string} frozen why it is frozen, or empty
 * @property {string} waits what its start at boot waits for, or empty
 * @property {Place | null} network null when it has no network of its own
 * @typedef {{ ip4: string, ip6: string, path: Way | null }} Place its addresses, or empty; path: null while it is stopped
 * @typedef {{ uplink: string | null, why: string }} Way uplink: null when nothing leaves
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
 * @property {string[]} portRange
 * @property {string[]} pin uplinks, the preferred first
 * @property {string} onDown block or fallback
 * @property {string} ip fixed, or empty
 * @property {string[]} dns
 * @property {string} ipv6
 * @property {boolean} autostart
 * @property {string[]} when conditions of its start at boot
 * @property {string[]} after containers that start before it
 * @property {number} delay seconds before its start at boot
 * @property {string} restart
 * @property {string} storage where the phone's shared storage is shown, or empty
 * @property {boolean} wakeLock
 * @property {boolean} pausable
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
 * @property {string[]} notes what a person should know of what it made
 * @property {boolean} secret whether there is a password that nobody has seen yet
 * @property {Shape | null} result what it made, by its kind
 * @typedef {object} Guard
 * @property {boolean} active whether this machine has one: phones do
 * @property {boolean} blocked whether it keeps containers from starting
 * @property {boolean} safeMode
 * @property {number} failedBoots
 * @property {Trip | null} trip
 * @property {string[]} never features that are never used
 * @property {string} problem what is wrong with its own file
 * @property {{ name: string, text: string }[]} pstore the kernel's last messages
 * @typedef {{ step: string, container: string, feature: string, kernel: string, when: number | null, text: string }} Trip
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
    written: shape.number("written") ?? 0,
    damaged: parseReason(shape.maybe("damaged")),
    frozen: state.text("frozen", ""),
    waits: state.text("waits", ""),
    network: parsePlace(shape.maybe("network")),
  };
}

/**
 * @param {Shape | null} shape
 * @returns {Place | null}
 */
function parsePlace(shape) {
  return (
    shape && { ip4: shape.text("ip4", ""), ip6: shape.text("ip6", ""), path: parseWay(shape.maybe("path")) }
  );
}

/**
 * @param {Shape | null} shape
 * @returns {Way | null}
 */
export function parseWay(shape) {
  return shape && { uplink: shape.text("uplink", "") || null, why: shape.text("why", "") };
}

/**
 * @param {Shape} shape
 * @returns {Settings}
 */
function parseSettings(shape) {
  const network = shape.maybe("network");
  const autostart = shape.maybe("autostart");
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
    portRange: network?.texts("port_range") ?? [],
    pin: network?.texts("pin") ?? [],
    onDown: network?.text("on_down", "block") ?? "block",
    ip: network?.text("ip", "") ?? "",
    dns: network?.texts("dns") ?? [],
    ipv6: network?.text("ipv6", "auto") ?? "auto",
    autostart: autostart?.flag("enabled", false) ?? false,
    when: autostart?.texts("when") ?? [],
    after: autostart?.texts("after") ?? [],
    delay: autostart?.number("delay") ?? 0,
    restart: shape.maybe("restart")?.text("policy", "no") ?? "no",
    storage: shape.text("storage", ""),
    wakeLock: shape.flag("wake_lock", false),
    pausable: shape.flag("pausable", false),
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
    notes: shape.texts("notes"),
    secret: shape.flag("secret", false),
    result: shape.maybe("result"),
  };
}

/**
 * @param {unknown} value
 * @param {string} [path]
 * @returns {Guard}
 */
export function parseGuard(value, path = "guard") {
  const shape = new Shape(value, path);
  const trip = shape.maybe("trip");
  return {
    active: shape.flag("active", true),
    blocked: shape.flag("blocked", false),
    safeMode: shape.flag("safe_mode", false),
    failedBoots: shape.number("failed_boots") ?? 0,
    trip: trip && {
      step: trip.text("step", ""),
      container: trip.text("container", ""),
      feature: trip.text("feature", ""),
      kernel: trip.text("kernel", ""),
      when: trip.number("when"),
      text: trip.text("text", ""),
    },
    never: shape.texts("never"),
    problem: shape.text("problem", ""),
    pstore: shape.list("pstore", (item, at) => {
      const file = new Shape(item, at);
      return { name: file.text("name"), text: file.text("text", "") };
    }),
  };
}
