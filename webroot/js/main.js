/** Starts the page: logs in with a code from the address, or asks for the token, or shows what was asked for. */
import { login } from "./api.js";
import { Frame } from "./frame.js";
import { html, render, useEffect, useErrorBoundary, useState } from "./html.js";
import { stayLive } from "./live.js";
import { inManager } from "./manager.js";
import { ContainersPage } from "./pages/containers.js";
import { LoginPage } from "./pages/login.js";
import { MissingPage } from "./pages/missing.js";
import { ProblemBox } from "./parts/problem.js";
import { Toasts } from "./parts/toasts.js";
import { asProblem } from "./problem.js";
import { useRoute } from "./router.js";
import { onSession, session, setSession } from "./session.js";

/** @typedef {import("./problem.js").Problem} Problem */

/** Pages that the first look does not need: loaded when they are asked for, and then kept. */
const LATER = {
  container: () => import("./pages/container.js").then((module) => module.ContainerPage),
  new: () => import("./pages/create.js").then((module) => module.CreatePage),
  network: () => import("./pages/network.js").then((module) => module.NetworkPage),
  images: () => import("./pages/images.js").then((module) => module.ImagesPage),
  host: () => import("./pages/host.js").then((module) => module.HostPage),
  guard: () => import("./pages/guard.js").then((module) => module.GuardPage),
};
/** @type {Map<string, unknown>} */
const loaded = new Map();

/** @param {{ page: keyof typeof LATER, name?: string }} props */
function Later({ page, name }) {
  const [, redraw] = useState(0);
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  useEffect(() => {
    if (loaded.has(page)) return;
    LATER[page]()
      .then((view) => {
        loaded.set(page, view);
        redraw((/** @type {number} */ count) => count + 1);
      })
      .catch((error) => setProblem(asProblem(error)));
  }, [page]);
  const View = loaded.get(page);
  if (View) return html`<${View} key=${name} name=${name} />`;
  if (problem) return html`<div class="page"><${ProblemBox} problem=${problem} /></div>`;
  return html`<div class="page"><div class="skeleton block" role="status" aria-label="Loading"></div></div>`;
}

/** @param {{ route: import("./router.js").Route }} props */
function Page({ route }) {
  const [error, again] = useErrorBoundary();
  useEffect(() => {
    if (error) again();
  }, [route]);
  if (error) return html`<div class="page"><${ProblemBox} problem=${asProblem(error)} /></div>`;
  if (route.page === "container") return html`<${Later} page="container" name=${route.name} />`;
  if (route.page === "containers") return html`<${ContainersPage} />`;
  if (route.page === "missing") return html`<${MissingPage} />`;
  return html`<${Later} key=${route.page} page=${route.page} />`;
}

function Inside() {
  const route = useRoute();
  useEffect(stayLive, []);
  return html`<${Frame} route=${route}><${Page} route=${route} /><//>`;
}

/** @param {{ problem: Problem | null }} props problem: why the code in the address did not log in */
function App({ problem }) {
  const [inside, setInside] = useState(session() !== "");
  useEffect(() => onSession(() => setInside(session() !== "")), []);
  return html`${inside ? html`<${Inside} />` : html`<${LoginPage} problem=${problem} />`}<${Toasts} />`;
}

/** @returns {string} the one-time code of an address `/login#CODE`, taken out of the address and its history */
function takeCode() {
  if (location.pathname !== "/login") return "";
  const code = location.hash.slice(1);
  history.replaceState(null, "", "/");
  return code.startsWith("/") ? "" : code;
}

async function start() {
  if (inManager()) {
    // Inside a root manager this file is not served by anybody: it shows the way to the one that is.
    const { showManager } = await import("./pages/manager.js");
    showManager();
    return;
  }
  const code = takeCode();
  let problem = null;
  if (code) {
    try {
      setSession(await login({ code }));
    } catch (error) {
      problem = session() ? null : asProblem(error);
    }
  }
  const root = document.getElementById("app");
  if (root) {
    root.replaceChildren();
    render(html`<${App} problem=${problem} />`, root);
  }
}

start();
