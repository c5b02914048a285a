/** What the machine measures, as tiles show it. */
import { bytes } from "./format.js";
import { Shape } from "./shape.js";

/** @typedef {import("./parts/tiles.js").Reading} Reading */
/** @typedef {{ name: string, celsius: number }} Sensor */

/** Degrees Celsius of a battery. */
const WARM = 40;
const HOT = 45;
/** Of a chip. */
const CHIP_WARM = 70;
const CHIP_HOT = 85;

/**
 * @param {number} value
 * @param {number} wait
 * @param {number} bad
 * @returns {Reading["tone"]}
 */
function above(value, wait, bad) {
  if (value >= bad) return "bad";
  return value >= wait ? "wait" : "good";
}

/**
 * @param {Shape} report with memory, disk, load and, on a phone, power
 * @returns {Reading[]}
 */
export function parseReadings(report) {
  return [...power(report.maybe("power")), ...machine(report)];
}

/**
 * @param {Shape | null} shape
 * @returns {Reading[]}
 */
function power(shape) {
  const found = /** @type {Reading[]} */ ([]);
  const battery = shape?.maybe("battery");
  const capacity = battery?.number("capacity") ?? null;
  const celsius = battery?.number("celsius") ?? null;
  if (battery && capacity !== null) {
    const plugged = battery.flag("plugged", false);
    const status = battery.text("status", "");
    found.push({
      id: "battery",
      label: "Battery",
      value: capacity,
      shown: `${capacity} %`,
      note: [status, plugged && status !== "Charging" ? "plugged in" : ""].filter(Boolean).join(", "),
      low: 0,
      high: 100,
      tone: capacity <= 10 && !plugged ? "bad" : capacity <= 20 && !plugged ? "wait" : "good",
    });
  }
  if (battery && celsius !== null) {
    const health = battery.text("health", "");
    found.push({
      id: "heat",
      label: "Battery heat",
      value: celsius,
      shown: `${celsius.toFixed(1)} °C`,
      note: health && health !== "Good" ? health : celsius >= HOT ? "hot" : celsius >= WARM ? "warm" : "fine",
      low: 15,
      high: 55,
      tone: above(celsius, WARM, HOT),
    });
  }
  const hottest = sensors(shape)[0];
  if (hottest) {
    found.push({
      id: "thermal",
      label: "Hottest part",
      value: hottest.celsius,
      shown: `${hottest.celsius.toFixed(0)} °C`,
      note: hottest.name,
      low: 20,
      high: 100,
      tone: above(hottest.celsius, CHIP_WARM, CHIP_HOT),
    });
  }
  return found;
}

/**
 * @param {Shape | null} power
 * @returns {Sensor[]} the hottest first
 */
export function sensors(power) {
  const all = power?.list("thermal", (item, path) => {
    const sensor = new Shape(item, path);
    return { name: sensor.text("name", ""), celsius: sensor.number("celsius") ?? 0 };
  });
  return (all ?? []).sort((a, b) => b.celsius - a.celsius);
}

/**
 * @param {Shape} report
 * @returns {Reading[]}
 */
function machine(report) {
  const processors = report.number("processors") ?? 1;
  const [load = 0] = report.list("load", (item) => (typeof item === "number" ? item : 0));
  return [
    space("memory", "Memory", report.object("memory"), 85, 95),
    {
      id: "load",
      label: "Load",
      value: load,
      shown: load.toFixed(load < 10 ? 1 : 0),
      note: `of ${processors} ${processors === 1 ? "processor" : "processors"}`,
      low: 0,
      high: Math.max(processors, load),
      tone: above(load, processors, processors * 2),
    },
    space("disk", "Disk", report.object("disk"), 85, 95),
  ];
}

/**
 * @param {string} id
 * @param {string} label
 * @param {Shape} shape with total and available bytes
 * @param {number} wait percent
 * @param {number} bad percent
 * @returns {Reading}
 */
function space(id, label, shape, wait, bad) {
  const total = shape.number("total") ?? 0;
  const free = shape.number("available") ?? 0;
  const used = total > 0 ? (100 * (total - free)) / total : 0;
  return {
    id,
    label,
    value: used,
    shown: `${used.toFixed(0)} %`,
    note: `${bytes(free)} free`,
    low: 0,
    high: 100,
    tone: above(used, wait, bad),
  };
}
