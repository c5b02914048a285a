/** Which page is shown: `#/`, `#/containers/NAME`, `#/new`, `#/network`, `#/images`, `#/host`, `#/guard`. */
import { useEffect, useState } from "./html.js";

const PLAIN = /** @type {const} */ (["new", "network", "images", "host", "guard"]);

/**
 * @typedef {typeof PLAIN[number]} Plain pages without a part of their own
 * @typedef {{ page: "containers" | "missing" | Plain }
 *   | { page: "container", name: string }} Route
 */

/**
 * @param {string} hash such as `#/containers/web`
 * @returns {Route}
 */
export function parseRoute(hash) {
  const parts = hash.replace(/^#/, "").split("/").filter(Boolean);
  if (parts.length === 0) return { page: "containers" };
  const plain = PLAIN.find((page) => page === parts[0]);
  if (parts.length === 1 && plain) return { page: plain };
  if (parts.length === 2 && parts[0] === "containers" && parts[1]) {
    try {
      return { page: "container", name: decodeURIComponent(parts[1]) };
    } catch {
      return { page: "missing" };
    }
  }
  return { page: "missing" };
}

/** @param {string} name */
export function containerLink(name) {
  return `#/containers/${encodeURIComponent(name)}`;
}

/** @param {string} hash */
export function go(hash) {
  location.hash = hash;
}

/** @returns {Route} the present one; the component is drawn again when it changes */
export function useRoute() {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const changed = () => setRoute(parseRoute(location.hash));
    addEventListener("hashchange", changed);
    // It may have changed between the first drawing and now.
    changed();
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}
