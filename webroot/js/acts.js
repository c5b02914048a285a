/** What can be done with a container, and what is said when it is done. */
import { actOn, changeContainer, deleteContainer } from "./api.js";
import { forget, learn, reload } from "./live.js";
import { said } from "./parts/toasts.js";

const DONE = { start: "started", stop: "stopped", restart: "restarted", kill: "ended" };

/**
 * @param {string} name
 * @param {"start" | "stop" | "restart" | "kill"} verb
 */
export async function act(name, verb) {
  learn(await actOn(name, verb));
  said(`${name} ${DONE[verb]}`);
}

/**
 * @param {string} name
 * @param {"autostart.enabled" | "boot"} key
 * @param {boolean} on
 */
export async function setFlag(name, key, on) {
  learn(await changeContainer(name, { [key]: on }));
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
