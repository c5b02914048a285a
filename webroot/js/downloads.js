/** Exports that this browser is fetching: they go on while other pages are looked at. */
import { fetchExport } from "./api.js";
import { useEffect, useState } from "./html.js";
import { failed, said } from "./parts/toasts.js";
import { asProblem } from "./problem.js";

/** @typedef {{ got: number, cancel: () => void }} Download */

/** Milliseconds that the browser has to take the file over. */
const HANDOVER = 60_000;

/** By the container's name. @type {Map<string, Download>} */
const running = new Map();
/** @type {Set<() => void>} */
const listeners = new Set();

function tell() {
  for (const listener of listeners) listener();
}

/**
 * @param {string} name of a container
 * @returns {Download | undefined} the one that is under way; the component is drawn again when it changes
 */
export function useDownload(name) {
  const [, redraw] = useState(0);
  useEffect(() => {
    const changed = () => redraw((/** @type {number} */ count) => count + 1);
    listeners.add(changed);
    return () => {
      listeners.delete(changed);
    };
  }, []);
  return running.get(name);
}

/** @param {string} name of a container whose archive is fetched, and saved when it is whole */
export async function saveExport(name) {
  if (running.has(name)) return;
  const abort = new AbortController();
  /** @param {number} got */
  const onProgress = (got) => {
    running.set(name, { got, cancel: () => abort.abort() });
    tell();
  };
  onProgress(0);
  try {
    const found = await fetchExport(name, { onProgress, signal: abort.signal });
    save(found.file, found.name);
    said(`${found.name} is in your downloads`);
  } catch (error) {
    if (asProblem(error).code !== "cancelled") failed(error);
  } finally {
    running.delete(name);
    tell();
  }
}

/**
 * @param {Blob} file
 * @param {string} name
 */
function save(file, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), HANDOVER);
}
