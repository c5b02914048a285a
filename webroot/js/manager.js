/**
 * The way out of a root manager's WebView: the object `ksu` runs commands as root (KernelSU, APatch, WebUI X,
 * KsuWebUIStandalone).  It is there on every page that this WebView shows, so only our own file uses it.
 */

/** @typedef {{ status: number, out: string, err: string }} Answer */
/** @typedef {{ exec: (command: string, options?: string, callback?: string) => unknown }} Ksu */

/** Milliseconds after which a command counts as lost. */
const PATIENCE = 30_000;
/** Milliseconds for the manager to call back at all; then it is asked in the way that waits for the answer. */
const FIRST = 2_000;

let count = 0;
/** @type {boolean | null} null: not known yet */
let callsBack = null;

/** @returns {Ksu | undefined} */
function ksu() {
  const found = /** @type {{ ksu?: Ksu }} */ (/** @type {unknown} */ (globalThis)).ksu;
  return typeof found?.exec === "function" ? found : undefined;
}

/**
 * @returns {boolean} whether this is the file in the module, shown by a manager, and not what the service serves:
 * managers show it from an https address of their own; ours is plain http on this machine
 */
export function inManager() {
  return location.protocol !== "http:" && ksu() !== undefined;
}

/**
 * @param {Ksu} bridge
 * @param {string} command
 * @param {number} patience
 * @returns {Promise<Answer | null>} null when it never called back
 */
function withCallback(bridge, command, patience) {
  const global = /** @type {Record<string, unknown>} */ (/** @type {unknown} */ (globalThis));
  return new Promise((resolve) => {
    count += 1;
    const name = `nspawn_answer_${Date.now()}_${count}`;
    const timer = setTimeout(() => done(null), patience);
    /** @param {Answer | null} answer */
    const done = (answer) => {
      clearTimeout(timer);
      delete global[name];
      resolve(answer);
    };
    global[name] = (/** @type {number} */ status, /** @type {string} */ out, /** @type {string} */ err) =>
      done({ status: Number(status), out: String(out ?? ""), err: String(err ?? "") });
    bridge.exec(command, "{}", name);
  });
}

/**
 * @param {string} command for sh, as root
 * @returns {Promise<Answer>}
 */
export async function rootCommand(command) {
  const bridge = ksu();
  if (!bridge) throw new Error("the manager offers no root commands");
  // Some engines hold the manager's call back to be inline script, which our policy refuses.
  if (callsBack === null) callsBack = (await withCallback(bridge, "true", FIRST)) !== null;
  if (callsBack) {
    const answer = await withCallback(bridge, command, PATIENCE);
    if (!answer) throw new Error("the command gave no answer");
    return answer;
  }
  const out = bridge.exec(`{ ${command}\n} 2>&1; echo "status=$?"`);
  const text = typeof out === "string" ? out : "";
  const end = text.lastIndexOf("status=");
  return {
    status: end < 0 ? 1 : Number.parseInt(text.slice(end + 7), 10),
    out: end < 0 ? text : text.slice(0, end),
    err: "",
  };
}
