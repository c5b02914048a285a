/** What the image server has: its distributions, each with its releases. */
import { Shape } from "./shape.js";

/**
 * @typedef {object} Offer
 * @property {string} reference
 * @property {string} distribution
 * @property {string} release
 * @property {string} variant
 * @property {string} os what the distribution calls itself
 * @property {string[]} also other words for the release
 * @property {number} size bytes to fetch
 * @property {string} date of its build
 * @property {boolean} current the one that the distribution's name alone stands for
 * @typedef {object} Distribution
 * @property {string} name
 * @property {string} title
 * @property {Offer} current
 * @property {Offer[]} offers
 * @typedef {{ arch: string, distributions: Distribution[], notes: string[] }} Catalog
 */

/**
 * @param {unknown} value
 * @param {string} path
 * @returns {Offer}
 */
function parseOffer(value, path) {
  const shape = new Shape(value, path);
  return {
    reference: shape.text("reference"),
    distribution: shape.text("distribution"),
    release: shape.text("release"),
    variant: shape.text("variant", "default"),
    os: shape.text("os", ""),
    also: shape.texts("also"),
    size: shape.number("size") ?? 0,
    date: shape.text("date", ""),
    current: shape.flag("current", false),
  };
}

/**
 * @param {unknown} value
 * @returns {Catalog}
 */
export function parseCatalog(value) {
  const shape = new Shape(value, "catalog");
  /** @type {Map<string, Distribution>} */
  const found = new Map();
  for (const offer of shape.list("products", parseOffer)) {
    const known = found.get(offer.distribution);
    if (!known) {
      const { distribution: name } = offer;
      found.set(name, { name, title: offer.os || name, current: offer, offers: [offer] });
    } else {
      known.offers.push(offer);
      if (offer.current) known.current = offer;
    }
  }
  return { arch: shape.text("arch", ""), distributions: [...found.values()], notes: shape.texts("notes") };
}

/**
 * @param {readonly Distribution[]} distributions
 * @param {string} text
 * @returns {Distribution[]} those with all its words in their name, title or releases
 */
export function matching(distributions, text) {
  const words = text
    .toLowerCase()
    .split(/[\s:/]+/)
    .filter(Boolean);
  return distributions.filter(({ name, title, offers }) => {
    const known = [name, title, ...offers.flatMap((each) => [each.release, ...each.also])].join(" ");
    return words.every((word) => known.toLowerCase().includes(word));
  });
}

/**
 * @param {Offer} offer
 * @returns {string} such as "trixie (13), cloud"
 */
export function releaseText({ release, also, variant }) {
  const number = also.find((word) => /^\d/.test(word));
  const text = number && number !== release ? `${release} (${number})` : release;
  return variant === "default" ? text : `${text}, ${variant}`;
}
