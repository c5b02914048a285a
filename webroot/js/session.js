/**
 * The login of this browser.  It lives in localStorage, which belongs to one origin with its port: a cookie
 * would also be sent to every container that serves a page on this address.
 */
const KEY = "nspawn.session";

/** @type {Set<() => void>} */
const listeners = new Set();

/** @returns {string} the session, or an empty text */
export function session() {
  return localStorage.getItem(KEY) ?? "";
}

/** @param {string} value the session; an empty text logs out */
export function setSession(value) {
  if (value) localStorage.setItem(KEY, value);
  else localStorage.removeItem(KEY);
  for (const listener of listeners) listener();
}

/**
 * @param {() => void} listener called after a login or a logout, in any tab
 * @returns {() => void} ends it
 */
export function onSession(listener) {
  /** @param {StorageEvent} event */
  const inOtherTab = (event) => {
    if (event.key === KEY || event.key === null) listener();
  };
  listeners.add(listener);
  addEventListener("storage", inOtherTab);
  return () => {
    listeners.delete(listener);
    removeEventListener("storage", inOtherTab);
  };
}
