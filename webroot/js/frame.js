/** What is around every page: the name, the way to the other pages, and whether the page is live. */
import { html, useEffect, useRef } from "./html.js";
import { useLive } from "./live.js";
import { GuardBanner } from "./parts/banner.js";
import { Icon } from "./parts/icons.js";

/** @typedef {import("./router.js").Route} Route */

const LINKS = /** @type {const} */ ([
  { href: "#/", text: "Containers", icon: "containers", pages: ["containers", "container"] },
  { href: "#/network", text: "Network", icon: "network", pages: ["network"] },
  { href: "#/new", text: "New", icon: "add", pages: ["new"] },
  { href: "#/host", text: "Machine", icon: "host", pages: ["host", "guard", "images"] },
]);

const LINK_WORDS = { connecting: "Connecting", live: "Live", lost: "Not connected" };

function LinkMark() {
  const { link } = useLive();
  return html`<span class="link" data-link=${link} role="status">${LINK_WORDS[link]}</span>`;
}

/** @param {{ route: Route, children?: unknown }} props */
export function Frame({ route, children }) {
  const main = useRef(/** @type {HTMLElement | null} */ (null));
  const first = useRef(true);
  const place = route.page === "container" ? `container ${route.name}` : route.page;
  useEffect(() => {
    // A new page begins at its top, for those who see it and for those who hear it.
    if (!first.current) {
      scrollTo(0, 0);
      main.current?.focus({ preventScroll: true });
    }
    first.current = false;
  }, [place]);

  return html`<div class="frame">
    <header class="top">
      <a class="brand" href="#/" aria-label="nspawn, containers"><${Icon} name="mark" size=${26} />nspawn</a>
      <${LinkMark} />
    </header>
    <div class="rail">
      <nav class="nav" aria-label="Pages">
        ${LINKS.map(
          ({ href, text, icon, pages }) =>
            html`<a
              key=${href}
              href=${href}
              aria-current=${/** @type {readonly string[]} */ (pages).includes(route.page) ? "page" : undefined}
            >
              <${Icon} name=${icon} size=${22} />${text}
            </a>`,
        )}
      </nav>
      <div class="side">
        <${LinkMark} />
      </div>
    </div>
    <main class="main" tabindex="-1" ref=${main}>
      ${route.page !== "guard" && html`<${GuardBanner} />`}
      ${children}
    </main>
  </div>`;
}

/**
 * @param {string} title of the page, also in the browser's tab
 */
export function useTitle(title) {
  useEffect(() => {
    document.title = title ? `${title} · nspawn` : "nspawn";
  }, [title]);
}
