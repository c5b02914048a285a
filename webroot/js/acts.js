/** What can be done with a container, and what is said when it is done. */
import { actOn, changeContainer, decideGuard, deleteContainer } from "./api.js";
import { change, forget, learn, learnGuard, reload } from "./live.js";
import { said } from "./parts/toasts.js";

const DONE = {
  start: "started",
  stop: "stopped",
  restart: "restarted",
  kill: "ended",
  freeze: "frozen",
  thaw: "goes on",
};

/**
 * @param {string} name
 * @param {keyof typeof DONE} verb
 */
export async function act(name, verb) {
  learn(await actOn(name, verb));
  said(`${name} ${DONE[verb]}`);
}

/**
 * @param {string} name
 * @param {string} key of a setting, dotted
 * @param {string | number | boolean | string[]} value
 */
export async function setSetting(name, key, value) {
  await change(name, () => changeContainer(name, { [key]: value }));
}

/** @param {Parameters<typeof decideGuard>[0]} decision */
export async function decide(decision) {
  learnGuard(await decideGuard(decision));
}

/** @param {string} name */
export async function remove(name) {
  try {
    await deleteContainer(name);
  } catch (error) {
    // The spawner has forgotten it before its files were refused to go: see what is left.
    await reload();
    throw error;
  }
  forget(name);
  said(`${name} deleted`);
}
