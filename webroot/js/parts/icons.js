/** Line icons of 24 by 24, drawn here so that the page asks for no file and no font. */
import { html } from "../html.js";

const PATHS = {
  mark: "M5 8a3 3 0 0 1 3-3h8a3 3 0 0 1 3 3v8a3 3 0 0 1-3 3H8a3 3 0 0 1-3-3zM10 11a1 1 0 0 1 1-1h2a1 1 0 0 1 1 1v2a1 1 0 0 1-1 1h-2a1 1 0 0 1-1-1z",
  containers: "M4 5h16v5H4zM4 14h16v5H4zM7.5 7.5h.01M7.5 16.5h.01",
  add: "M12 5v14M5 12h14",
  host: "M7 3h10a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H7a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1zM11 18h2",
  start: "M8 5.5v13l10.5-6.5z",
  stop: "M7 7h10v10H7z",
  restart: "M19 12a7 7 0 1 1-2.1-5M19 4v4h-4",
  back: "M14 6l-6 6 6 6",
  check: "M5 12.5l4.5 4.5L19 7.5",
  lack: "M12 7v6M12 17h.01M12 3l9.5 17h-19z",
  close: "M6 6l12 12M18 6L6 18",
  pause: "M9 6v12M15 6v12",
  shield: "M12 3l7 3v5c0 4.6-2.9 8-7 10-4.1-2-7-5.4-7-10V6zM12 8v4M12 15.5h.01",
  clock: "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16zM12 8v4.5l3 1.8",
  next: "M10 6l6 6-6 6",
  down: "M12 5v13M6 12.5l6 6 6-6",
  up: "M12 19V6M6.5 11.5l6-6 6 6",
  in: "M14 5h4v14h-4M6 12h8M10 8l4 4-4 4",
  network: "M6 4.5h5v5H6zM13 14.5h5v5h-5zM8.5 9.5v4a3.5 3.5 0 0 0 3.5 3.5h1",
  wifi: "M4 9.5a12 12 0 0 1 16 0M7 13a7.5 7.5 0 0 1 10 0M10 16.3a3.2 3.2 0 0 1 4 0M12 19h.01",
  mobile: "M5 19v-3M10 19v-6.5M15 19V9M20 19V5",
  ethernet: "M5 8h14v9H5zM9 17v2.5M15 17v2.5M9 11v2M12 11v2M15 11v2",
  vpn: "M7 11h10v8H7zM9 11V8a3 3 0 0 1 6 0v3M12 14.5v1",
  out: "M10 5H6v14h4M14 8l4 4-4 4M18 12H10",
};

/**
 * @param {{ name: keyof typeof PATHS, size?: number }} props
 */
export function Icon({ name, size = 20 }) {
  return html`<svg
    width=${size}
    height=${size}
    viewBox="0 0 24 24"
    fill="none"
    stroke="currentColor"
    stroke-width="1.8"
    stroke-linecap="round"
    stroke-linejoin="round"
    aria-hidden="true"
  >
    <path d=${PATHS[name]} />
  </svg>`;
}
