/** Names of containers, by the rule that the server has for them. */

const NAME = /^[a-z0-9][a-z0-9_.-]{0,62}$/;
const NAME_RULE = "1 to 63 of a-z, 0-9, '_', '.' and '-', beginning with a letter or digit.";

/**
 * @param {string} name
 * @param {ReadonlyMap<string, unknown> | null} known
 * @returns {string} what is wrong with it, or an empty text
 */
export function nameProblem(name, known) {
  if (!name) return "Give it a name.";
  if (!NAME.test(name)) return NAME_RULE;
  if (known?.has(name)) return `There is a container ${name} already.`;
  return "";
}

/**
 * @param {string} name that is being typed
 * @returns {string} what no further letter mends, or an empty text
 */
export function misspelt(name) {
  return name && !NAME.test(name) ? NAME_RULE : "";
}

/**
 * @param {string} file the name of an archive, such as `web (1).tar.zst`
 * @returns {string} the container's that it probably holds, or an empty text
 */
export function nameOfArchive(file) {
  const name = file.replace(/\.(tar(\.\w+)?|t[gx]z)$/, "").replace(/ ?\(\d+\)$/, "");
  return NAME.test(name) ? name : "";
}
