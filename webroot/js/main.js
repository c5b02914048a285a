/** Starts the page: logs in with a code from the address, or asks for the token, or shows what was asked for. */
import { login } from "./api.js";
import { Frame } from "./frame.js";
import { html, render, useEffect, useErrorBoundary, useState } from "./html.js";
import { stayLive } from "./live.js";
import { inManager } from "./manager.js";
import { ContainerPage } from "./pages/container.js";
import { ContainersPage } from "./pages/containers.js";
import { CreatePage } from "./pages/create.js";
import { GuardPage } from "./pages/guard.js";
import { HostPage } from "./pages/host.js";
import { LoginPage } from "./pages/login.js";
import { MissingPage } from "./pages/missing.js";
import { ProblemBox } from "./parts/problem.js";
import { Toasts } from "./parts/toasts.js";
import { asProblem } from "./problem.js";
import { useRoute } from "./router.js";
import { onSession, session, setSession } from "./session.js";

/** @typedef {import("./problem.js").Problem} Problem */

/** @param {{ route: import("./router.js").Route }} props */
function Page({ route }) {
  const [error, again] = useErrorBoundary();
  useEffect(() => {
    if (error) again();
  }, [route]);
  if (error) return html`<div class="page"><${ProblemBox} problem=${asProblem(error)} /></div>`;
  if (route.page === "container") return html`<${ContainerPage} key=${route.name} name=${route.name} />`;
  if (route.page === "new") return html`<${CreatePage} />`;
  if (route.page === "host") return html`<${HostPage} />`;
  if (route.page === "guard") return html`<${GuardPage} />`;
  if (route.page === "containers") return html`<${ContainersPage} />`;
  return html`<${MissingPage} />`;
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
