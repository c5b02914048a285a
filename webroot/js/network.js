/** What the server tells of the network, as typed values, and the picture that follows from it. */
import { Shape } from "./shape.js";

/**
 * @typedef {{ uplink: string | null, why: string }} Path uplink: null when nothing leaves
 * @typedef {{ what: string, why: string, hint: string }} Note
 * @typedef {object} Uplink
 * @property {string} name
 * @property {string} kind vpn, wifi, ethernet or mobile
 * @property {string} state up, no internet or down
 * @property {boolean} standard the machine's default
 * @property {boolean} ip4
 * @property {boolean} ip6
 * @property {string} tables
 * @property {string} why what is wrong with it, or empty
 * @typedef {{ text: string, from: string, to: string, warning: string }} Forward
 * @typedef {object} Member
 * @property {string} name of the container; empty for a run in the foreground
 * @property {string} owner
 * @property {boolean} running
 * @property {string} ip4 or empty
 * @property {string} ip6 or empty
 * @property {string[]} pin
 * @property {Path} path
 * @property {Forward[]} forwards
 * @typedef {object} Network
 * @property {boolean} up
 * @property {string} bridge or empty
 * @property {string} ip4
 * @property {string} ip6 or empty
 * @property {string} gateway
 * @property {number} used addresses
 * @property {number} room for addresses
 * @property {{ mode: string, why: string }} ipv6
 * @property {Uplink[]} uplinks
 * @property {{ name: string, why: string }[]} excluded
 * @property {Path} free of all without a pin
 * @property {Member[]} members
 * @property {Note[]} notes
 */

export const KINDS = /** @type {Record<string, string>} */ ({
  vpn: "VPN",
  wifi: "WiFi",
  ethernet: "Ethernet",
  mobile: "Mobile",
});

/** Containers that have a place of their own in the picture; more are put together. */
const MOST = 12;

/** @param {Shape} shape */
function parsePath(shape) {
  return { uplink: shape.text("uplink", "") || null, why: shape.text("why", "") };
}

/**
 * @param {unknown} value
 * @param {string} path
 * @returns {Note}
 */
function parseNote(value, path) {
  const shape = new Shape(value, path);
  return { what: shape.text("what"), why: shape.text("why", ""), hint: shape.text("hint", "") };
}

/**
 * @param {unknown} value
 * @param {string} path
 * @returns {Uplink}
 */
function parseUplink(value, path) {
  const shape = new Shape(value, path);
  const tables = [shape.number("table4"), shape.number("table6")];
  return {
    name: shape.text("name"),
    kind: shape.text("kind", ""),
    state: shape.text("state", ""),
    standard: shape.flag("default", false),
    ip4: shape.flag("ip4", false),
    ip6: shape.flag("ip6", false),
    tables: [...new Set(tables)].filter((each) => each !== null).join(", "),
    why: shape.text("why", ""),
  };
}

/**
 * @param {unknown} value
 * @param {string} path
 * @returns {Forward}
 */
export function parseForward(value, path) {
  const shape = new Shape(value, path);
  const [host, container, count] = ["host", "container", "ports"].map((key) => shape.number(key) ?? 1);
  /** @param {number | undefined} first */
  const ports = (first = 0) => ((count ?? 1) > 1 ? `${first}–${first + (count ?? 1) - 1}` : String(first));
  const listen = shape.text("listen", "");
  const at = listen && `${listen.includes(":") ? `[${listen}]` : listen}:`;
  return {
    text: shape.text("text"),
    from: `${at}${ports(host)}/${shape.text("proto", "tcp")}`,
    to: ports(container),
    warning: shape.text("warning", ""),
  };
}

/**
 * @param {unknown} value
 * @param {string} path
 * @returns {Member}
 */
export function parseMember(value, path) {
  const shape = new Shape(value, path);
  return {
    name: shape.text("name", ""),
    owner: shape.text("owner"),
    running: shape.flag("running", false),
    ip4: shape.text("ip4", ""),
    ip6: shape.text("ip6", ""),
    pin: shape.texts("pin"),
    path: parsePath(shape.object("path")),
    forwards: shape.list("forwards", parseForward),
  };
}

/**
 * @param {unknown} value
 * @param {string} [path]
 * @returns {Network}
 */
export function parseNetwork(value, path = "network") {
  const shape = new Shape(value, path);
  const subnet = shape.object("subnet");
  const ipv6 = shape.object("ipv6");
  return {
    up: shape.flag("up", false),
    bridge: shape.text("bridge", ""),
    ip4: subnet.text("ip4", ""),
    ip6: subnet.text("ip6", ""),
    gateway: subnet.text("gateway4", ""),
    used: subnet.number("used") ?? 0,
    room: subnet.number("room") ?? 0,
    ipv6: { mode: ipv6.text("mode", "none"), why: ipv6.text("why", "") },
    uplinks: shape.list("uplinks", parseUplink),
    excluded: shape.list("excluded", (item, at) => {
      const each = new Shape(item, at);
      return { name: each.text("name"), why: each.text("why", "") };
    }),
    free: parsePath(shape.object("free")),
    members: shape.list("containers", parseMember),
    notes: shape.list("notes", parseNote),
  };
}

/**
 * @typedef {{ key: string, name: string, title: string, note: string, lines: number[], tone: "way" | "cut" | "idle" }} Place
 * name: of the container that it stands for, or empty; lines: where its traffic goes, by the uplink's place
 */

/**
 * The picture's left side: each container, or several of one way put together when there are many.
 * @param {Network} network
 * @returns {Place[]}
 */
export function places(network) {
  const where = new Map(network.uplinks.map((each, index) => [each.name, index]));
  /** @param {Member} member */
  const lineOf = ({ path }) => (path.uplink === null ? undefined : where.get(path.uplink));
  /** @param {Member} member */
  const tone = (member) => (!member.running ? "idle" : lineOf(member) === undefined ? "cut" : "way");
  const shown = network.members.filter((each) => each.running || network.members.length <= MOST);
  if (shown.length <= MOST) {
    return shown.map((member) => {
      const line = lineOf(member);
      return {
        key: member.owner,
        name: member.name,
        title: member.owner,
        note: member.running ? member.ip4 : "stopped",
        lines: line === undefined ? [] : [line],
        tone: tone(member),
      };
    });
  }
  /** @type {Map<string, Member[]>} */
  const groups = new Map();
  for (const member of shown) {
    const key = `${member.path.uplink ?? ""} ${member.pin.join(",")}`;
    groups.set(key, [...(groups.get(key) ?? []), member]);
  }
  return [...groups].map(([key, members]) => {
    const [first] = members;
    const line = first && lineOf(first);
    return {
      key,
      name: members.length === 1 ? (first?.name ?? "") : "",
      title: members.length === 1 ? (first?.owner ?? "") : `${members.length} containers`,
      note: first?.pin.length ? `pin ${first.pin.join(", ")}` : "no pin",
      lines: line === undefined ? [] : [line],
      tone: line === undefined ? "cut" : "way",
    };
  });
}
