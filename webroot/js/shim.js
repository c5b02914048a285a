/** What the file inside a manager asks of the shell, and how it reads the answers.  No document is touched. */

const MODULE = "/data/adb/modules/nspawn";
const BEGIN = `say() { echo "$1"; }; . ${MODULE}/share/module.sh || exit 1; our_folder ${MODULE}`;

/** Paths are absolute: a manager's shell has its own folders in PATH, before or without ours. */
export const COMMANDS = {
  status: `${BEGIN}
if our_running; then echo running=1; else echo running=0; fi
for mark in disable remove update; do [ -e ${MODULE}/$mark ] && echo $mark=1; done
grep -e '^version=' -e '^description=' ${MODULE}/module.prop
echo log=
for log in service spawner; do tail -n 12 $our_state/run/$log.log; done 2>/dev/null
true`,
  start: `sh ${MODULE}/service.sh`,
  /** Makes a code only when the port is ours, and starts the service when it does not run. */
  login: `${BEGIN}
"$our_bin/nspawn" login`,
};

/**
 * @typedef {object} Status
 * @property {boolean} running
 * @property {boolean} disabled
 * @property {boolean} removed
 * @property {boolean} updated another version is installed, for the next boot
 * @property {string} version
 * @property {string} description
 * @property {string} log the last lines
 */

/**
 * @param {string} text what COMMANDS.status prints
 * @returns {Status}
 */
export function parseStatus(text) {
  const [head = "", log = ""] = text.split(/^log=$/m, 2);
  /** @type {Map<string, string>} */
  const found = new Map();
  for (const line of head.split("\n")) {
    const [key, ...rest] = line.split("=");
    if (key && rest.length > 0 && !found.has(key)) found.set(key, rest.join("=").trim());
  }
  return {
    running: found.get("running") === "1",
    disabled: found.get("disable") === "1",
    removed: found.get("remove") === "1",
    updated: found.get("update") === "1",
    version: found.get("version") ?? "",
    description: found.get("description") ?? "",
    log: withoutCodes(log.trim()),
  };
}

/**
 * @param {string} text what `nspawn login` prints
 * @returns {string} the address, or empty when there is none: only one of this machine, with a code
 */
export function parseAddress(text) {
  const lines = text.split("\n").map((line) => line.trim());
  return lines.find((line) => /^http:\/\/127\.0\.0\.1:\d{1,5}\/login#[\w-]{16,100}$/.test(line)) ?? "";
}

/**
 * @param {string} text
 * @returns {string} the same, and no login address in it
 */
export function withoutCodes(text) {
  return text.replace(/\/login#\S+/g, "/login");
}
