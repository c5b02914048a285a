/** The images that are kept, and who uses them. */
import { bytes } from "./format.js";
import { Shape } from "./shape.js";

/**
 * @typedef {object} KeptImage
 * @property {string} id
 * @property {string} reference
 * @property {string} title
 * @property {string} arch
 * @property {string} serial which build of it
 * @property {number} date when it was fetched, Unix seconds
 * @property {number} size bytes
 * @property {string[]} digests
 * @property {boolean} whole whether nothing of it is gone
 * @typedef {{ images: KeptImage[], problems: string[] }} Kept
 */

/**
 * @param {unknown} value
 * @param {string} path
 * @returns {KeptImage}
 */
function parseImage(value, path) {
  const shape = new Shape(value, path);
  const reference = shape.text("reference");
  return {
    id: shape.text("id"),
    reference,
    title: shape.text("title", "") || reference,
    arch: shape.text("arch", ""),
    serial: shape.text("serial", ""),
    date: shape.number("date") ?? 0,
    size: shape.number("size") ?? 0,
    digests: shape.texts("digests"),
    whole: shape.texts("missing").length === 0,
  };
}

/**
 * @param {unknown} value
 * @returns {Kept}
 */
export function parseKept(value) {
  const shape = new Shape(value, "kept");
  return { images: shape.list("images", parseImage), problems: shape.texts("problems") };
}

/**
 * @param {KeptImage} image
 * @param {Iterable<import("./model.js").Container>} containers
 * @returns {string[]} those that were made from it, or from another build of it
 */
export function usersOf({ reference }, containers) {
  const users = [...containers].filter(({ settings }) => settings.image === reference);
  return users.map(({ name }) => name).sort();
}

/**
 * @param {import("./model.js").Job} job that is done
 * @returns {string} what came out of it
 */
export function outcomeOf({ kind, result }) {
  if (kind === "prune") {
    const freed = result?.number("bytes") ?? 0;
    return result?.number("count") ? `${bytes(freed)} freed.` : "There was nothing to clean up.";
  }
  const damaged = result?.texts("damaged").length ?? 0;
  if (damaged === 0) return "Everything is as it was fetched.";
  const files = damaged === 1 ? "One file is" : `${damaged} files are`;
  return `${files} damaged. Remove the image, and the next container fetches it again.`;
}

/**
 * @param {import("./model.js").Job} job that is done
 * @param {readonly KeptImage[]} images
 * @returns {string[]} what is damaged: digests, with the images that need them
 */
export function damagedBy({ kind, result }, images) {
  if (kind !== "verify") return [];
  return (result?.texts("damaged") ?? []).map((digest) => {
    const titles = images.filter(({ digests }) => digests.includes(digest)).map(({ title }) => title);
    return [titles.join(", "), digest].filter(Boolean).join(": ");
  });
}
