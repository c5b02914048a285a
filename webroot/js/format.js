/** Numbers and times as a person reads them. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/**
 * @param {number} count bytes
 * @returns {string} such as "1.5 MiB"
 */
export function bytes(count) {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit > 0 && value < 10 ? 1 : 0;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/**
 * @param {number} seconds
 * @returns {string} the two largest parts, such as "3 h 12 min"
 */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const days = Math.floor(whole / 86400);
  const hours = Math.floor(whole / 3600) % 24;
  const minutes = Math.floor(whole / 60) % 60;
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes) return `${minutes} min ${whole % 60} s`;
  return `${whole} s`;
}

/**
 * @param {string} text
 * @returns {string} with a capital at its begin
 */
export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * @param {string} text
 * @param {number} most characters
 * @returns {string} its begin when it is longer
 */
export function shorten(text, most) {
  return text.length > most ? `${text.slice(0, most).trimEnd()}…` : text;
}

/**
 * @param {string} image as the settings name it
 * @returns {string}
 */
export function imageName(image) {
  return image === "builtin" ? "Built-in" : image;
}
