/** The page's modules that touch no document. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ConsoleText } from "../../../webroot/js/ansi.js";
import { matching, parseCatalog, releaseText } from "../../../webroot/js/catalog.js";
import { bytes, duration, sentence, shorten } from "../../../webroot/js/format.js";
import { plainWords } from "../../../webroot/js/guard.js";
import { damagedBy, outcomeOf, parseKept, usersOf } from "../../../webroot/js/kept.js";
import { parseContainer, parseGuard, parseJob } from "../../../webroot/js/model.js";
import { misspelt, nameOfArchive, nameProblem } from "../../../webroot/js/names.js";
import { parseNetwork, places } from "../../../webroot/js/network.js";
import { EMPTY, settingsOf, sourceOf, wrongsOf } from "../../../webroot/js/order.js";
import { problemOf } from "../../../webroot/js/problem.js";
import { parseReadings, sensors } from "../../../webroot/js/readings.js";
import { Shape } from "../../../webroot/js/shape.js";
import { COMMANDS, parseAddress, parseStatus, withoutCodes } from "../../../webroot/js/shim.js";
import { EventParser } from "../../../webroot/js/sse.js";

const ESC = "\u001b";

/** @param {string[]} pieces */
function lines(...pieces) {
  const text = new ConsoleText();
  const done = pieces.flatMap((piece) => text.push(piece));
  return [...done, text.last].map((line) => line.map(({ text: part, style }) => (style ? [part, style] : part)));
}

test("console output becomes lines", () => {
  assert.deepEqual(lines("a\r\nb\n", "c"), [["a"], ["b"], ["c"]]);
  assert.deepEqual(lines("a\tb\u0007\u0000c"), [["a\tbc"]].map((line) => [line.join("")]));
  assert.deepEqual(lines("10%\r20%\r\n"), [["20%"], []]);
});

test("colours are kept, all else of a terminal is dropped", () => {
  assert.deepEqual(lines(`${ESC}[1;32mok${ESC}[0m done`), [[["ok", "bold c2"], " done"]]);
  assert.deepEqual(lines(`${ESC}[38;5;1mred${ESC}[39m${ESC}[48;2;1;2;3mx`), [[["red", "c1"], "x"]]);
  assert.deepEqual(lines(`${ESC}[2J${ESC}[Htop${ESC}]0;title\u0007 ${ESC}(Bend`), [["top end"]]);
});

test("a sequence that is cut anywhere is the same", () => {
  const whole = `a${ESC}[31mred${ESC}]0;t${ESC}\\${ESC}[0mb\r\nnext`;
  for (let cut = 0; cut <= whole.length; cut += 1) {
    assert.deepEqual(lines(whole.slice(0, cut), whole.slice(cut)).flat(2).join("|"), lines(whole).flat(2).join("|"));
  }
});

test("a sequence without end and a line without end cost a fixed amount", () => {
  assert.ok(lines(`${ESC}]0;${"x".repeat(10_000)}`).flat().length > 0);
  const long = lines("y".repeat(10_000));
  assert.deepEqual(long.map((line) => line.join("").length), [4000, 4000, 2000]);
});

test("events are read across any cut", () => {
  const stream = ': here\n\nid: 1\nevent: job\ndata: {"a":1}\n\ndata: x\ndata: y\n\n';
  for (let cut = 0; cut <= stream.length; cut += 1) {
    const parser = new EventParser();
    const events = [...parser.push(stream.slice(0, cut)), ...parser.push(stream.slice(cut))];
    assert.deepEqual(events, [
      { id: "1", event: "job", data: '{"a":1}' },
      { id: "1", event: "message", data: "x\ny" },
    ]);
  }
});

test("an answer that is not what it should be is named by its path", () => {
  const good = { name: "web", state: { state: "running", pid: 1 }, settings: { autostart: { enabled: true } } };
  assert.equal(parseContainer(good).settings.autostart, true);
  assert.equal(parseContainer({ ...good, state: { state: "new kind" } }).state, "stopped");
  const wrong = [
    [null, "container"],
    [{ ...good, name: 1 }, "container.name"],
    [{ ...good, state: [] }, "container.state"],
    [{ ...good, settings: { binds: ["a", 2] } }, "container.settings.binds[1]"],
  ];
  for (const [value, path] of wrong) assert.throws(() => parseContainer(value), { why: new RegExp(`^${escape(path)} `) });
  assert.throws(() => parseJob({ id: "1", kind: "create" }), { why: /^job.state / });
});

/** @param {unknown} text */
function escape(text) {
  return String(text).replace(/[[\].]/g, "\\$&");
}

test("errors say what the server said", () => {
  const problem = problemOf(409, { error: { code: "conflict", what: "web is running", why: "", hint: "Stop it." } });
  assert.deepEqual([problem.what, problem.hint, problem.code, problem.status], ["Web is running", "Stop it.", "conflict", 409]);
  assert.equal(problemOf(502, undefined).what, "The server answered 502");
  assert.equal(problemOf(500, { error: "text" }).what, "The server answered 500");
});

test("numbers as a person reads them", () => {
  assert.deepEqual([0, 1023, 1536, 10 * 1024 ** 2, 1024 ** 4 * 5000].map(bytes), ["0 B", "1023 B", "1.5 KiB", "10 MiB", "5000 TiB"]);
  assert.deepEqual([-1, 59, 61, 3661, 90_000].map(duration), ["0 s", "59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
  assert.equal(sentence("abc"), "Abc");
  assert.equal(shorten("abcdef", 3), "abc…");
});

const TRIP = { step: "namespace", container: "web", feature: "pid", kernel: "6.6", when: 1, text: "" };

test("the guard is told in plain words", () => {
  const told = (/** @type {object} */ more) => plainWords(parseGuard({ blocked: true, failed_boots: 1, ...more }));
  assert.match(told({ trip: TRIP }).what, /restarted by itself while PID namespaces were tried\./);
  assert.match(told({ trip: { ...TRIP, step: "start", feature: "" } }).short, /while the container web was started/);
  assert.match(told({ trip: { ...TRIP, container: "", feature: "" } }).what, /while namespaces were made/);
  assert.match(told({ trip: null }).what, /while a container was started/);
  const safe = told({ trip: TRIP, safe_mode: true, failed_boots: 3 });
  assert.match(safe.title, /^Safe mode/);
  assert.match(safe.what, /3 times in a row before it had come up well, the last time while PID/);
  assert.equal(parseGuard({ active: false }).blocked, false);
});

const HOST = { memory: { total: 100, available: 4 }, disk: { total: 200, available: 100 }, load: [0.5, 1, 1], processors: 8 };

test("readings become tiles, those of a phone first", () => {
  const ids = (/** @type {object} */ power) => parseReadings(new Shape({ ...HOST, power }, "r")).map(({ id, shown, tone }) => `${id} ${shown} ${tone}`);
  const machine = ["memory 96 % bad", "load 0.5 good", "disk 50 % good"];
  assert.deepEqual(ids({ battery: null, thermal: [], rules: {} }), machine);
  assert.deepEqual(parseReadings(new Shape(HOST, "r")).map(({ id }) => id), ["memory", "load", "disk"]);
  const battery = { capacity: 9, celsius: 46.2, status: "Discharging", health: "Good", plugged: false };
  const thermal = [{ name: "skin", celsius: 30 }, { name: "cpu", celsius: 71 }];
  assert.deepEqual(ids({ battery, thermal }), ["battery 9 % bad", "heat 46.2 °C bad", "thermal 71 °C wait", ...machine]);
  assert.deepEqual(ids({ battery: { ...battery, capacity: null, celsius: null }, thermal: [] }), machine);
  assert.deepEqual(sensors(new Shape({ thermal }, "p")).map(({ name }) => name), ["cpu", "skin"]);
});

test("only an address of this machine with a code is followed", () => {
  const code = "abcDEF0123456789-_abcDEF";
  assert.equal(parseAddress(`The page of /x:\nhttp://127.0.0.1:8080/login#${code}\n`), `http://127.0.0.1:8080/login#${code}`);
  for (const text of [
    "",
    `http://127.0.0.1:8080/login#${code} more`,
    `http://evil.example/login#${code}`,
    `http://127.0.0.1:8080@evil.example/login#${code}`,
    `javascript:alert(1)//127.0.0.1:8080/login#${code}`,
    `https://127.0.0.1:8080/login#${code}`,
    "http://127.0.0.1:8080/login#short",
  ]) {
    assert.equal(parseAddress(text), "", text);
  }
});

test("the module's state is read, and no code with it", () => {
  const text = "running=1\nupdate=1\nversion=1.2\ndescription=2 running, a=b\nlog=\nlog=x\nat http://127.0.0.1:1/login#SECRET end\n";
  assert.deepEqual(parseStatus(text), {
    running: true,
    disabled: false,
    removed: false,
    updated: true,
    version: "1.2",
    description: "2 running, a=b",
    log: "log=x\nat http://127.0.0.1:1/login end",
  });
  assert.equal(parseStatus("").running, false);
  assert.equal(withoutCodes("a/login#x b/login#y"), "a/login b/login");
});

test("a manager's shell may have Android's tools only", () => {
  for (const command of Object.values(COMMANDS)) {
    assert.doesNotMatch(command, /\\\|/, "`\\|` in a pattern is GNU's: Android's sed and grep take it for a bar");
    assert.doesNotMatch(command, /\btail -q/, "toybox's tail has no -q");
  }
});

/** @param {Record<string, unknown>[]} containers */
const network = (...containers) =>
  parseNetwork({
    subnet: {},
    ipv6: {},
    free: { uplink: null, why: "" },
    uplinks: [
      { name: "wlan0", kind: "wifi", state: "up", table4: 1, table6: 1 },
      { name: "tun0", kind: "vpn", state: "up", table4: 2, table6: 3 },
    ],
    containers: containers.map((each, number) => ({
      name: `c${number}`,
      owner: `c${number}`,
      running: true,
      path: { uplink: "wlan0", why: "" },
      ...each,
    })),
  });

test("the picture has a line from each container to its uplink", () => {
  const found = network({}, { path: { uplink: "tun0", why: "" } }, { path: { uplink: null, why: "" } }, { running: false });
  assert.deepEqual(
    places(found).map(({ name, lines, tone }) => [name, lines, tone]),
    [
      ["c0", [0], "way"],
      ["c1", [1], "way"],
      ["c2", [], "cut"],
      ["c3", [0], "idle"],
    ],
  );
  assert.deepEqual(found.uplinks.map(({ tables }) => tables), ["1", "2, 3"]);
});

test("an uplink that has just gone cuts no picture", () => {
  const [place] = places(network({ path: { uplink: "gone0", why: "" } }));
  assert.deepEqual(place?.lines, []);
  assert.equal(place?.tone, "cut");
});

test("many containers of one way are one place, and stopped ones none", () => {
  const many = network(
    ...Array.from({ length: 20 }, () => ({})),
    { running: false },
    { pin: ["vpn"], path: { uplink: "tun0", why: "" } },
    { pin: ["vpn"], path: { uplink: "tun0", why: "" } },
    { name: "", owner: "a run (process 7)", pin: ["mobile"], path: { uplink: null, why: "" } },
  );
  assert.deepEqual(
    places(many).map(({ title, note, name, lines }) => [title, note, name, lines]),
    [
      ["20 containers", "no pin", "", [0]],
      ["2 containers", "pin vpn", "", [1]],
      ["a run (process 7)", "pin mobile", "", []],
    ],
  );
});

test("ports are told as people write them", () => {
  const [member] = network({
    forwards: [
      { text: "8080:80/tcp", proto: "tcp", listen: "", host: 8080, container: 80, ports: 1 },
      { text: "[::1]:5000-5010:6000/udp", proto: "udp", listen: "::1", host: 5000, container: 6000, ports: 11 },
    ],
  }).members;
  assert.deepEqual(
    member?.forwards.map(({ from, to }) => [from, to]),
    [
      ["8080/tcp", "80"],
      ["[::1]:5000–5010/udp", "6000–6010"],
    ],
  );
});

/** @param {string} distribution @param {string} release @param {object} [more] */
function offer(distribution, release, more = {}) {
  return { reference: `${distribution}:${release}`, distribution, release, variant: "default", os: distribution.toUpperCase(), ...more };
}

test("the server's list becomes distributions with their releases", () => {
  const { arch, distributions, notes } = parseCatalog({
    arch: "arm64",
    notes: ["the list is of yesterday"],
    products: [
      offer("alpine", "edge", {}),
      offer("alpine", "3.22", { current: true, also: [], size: 3_000_000 }),
      offer("debian", "trixie", { current: true, also: ["13"] }),
      offer("debian", "trixie", { variant: "cloud", reference: "debian/trixie/cloud", also: ["13"] }),
    ],
  });
  assert.deepEqual([arch, notes], ["arm64", ["the list is of yesterday"]]);
  assert.deepEqual(
    distributions.map(({ name, title, current, offers }) => [name, title, current.release, offers.length]),
    [
      ["alpine", "ALPINE", "3.22", 2],
      ["debian", "DEBIAN", "trixie", 2],
    ],
  );
  assert.deepEqual(distributions[1].offers.map(releaseText), ["trixie (13)", "trixie (13), cloud"]);
  assert.equal(releaseText(distributions[0].current), "3.22");
  const found = (/** @type {string} */ text) => matching(distributions, text).map(({ name }) => name);
  assert.deepEqual(found(""), ["alpine", "debian"]);
  assert.deepEqual(found("DEB 13"), ["debian"]);
  assert.deepEqual(found("debian:13"), ["debian"]);
  assert.deepEqual(found("edge"), ["alpine"]);
  assert.deepEqual(found("suse"), []);
});

test("a list that is none is refused at its place", () => {
  assert.throws(() => parseCatalog({ products: [{ reference: 7 }] }), { why: "catalog.products[0].reference is not a text" });
});

test("names are those that the server takes", () => {
  const known = new Map([["web", {}]]);
  assert.equal(nameProblem("web2", known), "");
  assert.match(nameProblem("", known), /Give/);
  assert.match(nameProblem("web", known), /already/);
  for (const name of ["-x", "Web", "a/b", "a".repeat(64), "a\nb", ".."]) assert.match(misspelt(name), /beginning/);
  assert.equal(misspelt(""), "");
  const files = ["web.tar.zst", "web (1).tar.xz", "web.tar", "a.b.tgz", "web", "My web.tar", "../x.tar", ".tar"];
  assert.deepEqual(files.map(nameOfArchive), ["web", "web", "web", "a.b", "web", "", "", ""]);
});

test("what is missing of an order is told by its field", () => {
  const wrong = (/** @type {object} */ change) =>
    Object.entries(wrongsOf({ ...EMPTY, name: "web", ...change }, null, true))
      .filter(([, text]) => text)
      .map(([id]) => id);
  assert.deepEqual(wrong({}), []);
  assert.deepEqual(wrong({ name: "" }), ["name"]);
  assert.deepEqual(wrong({ kind: "distribution", choice: "own" }), ["search", "password"]);
  assert.deepEqual(wrong({ kind: "registry", registry: " ", choice: "own" }), ["registry"]);
  assert.deepEqual(wrong({ kind: "file", path: "a.tar" }), ["path"]);
  assert.deepEqual(wrong({ kind: "archive" }), ["file"]);
  assert.deepEqual(wrongsOf({ ...EMPTY, name: "No" }, null, false), { name: misspelt("No") });
});

test("an order becomes a request", () => {
  const order = { ...EMPTY, name: "web", distribution: "debian", registry: " docker://nginx ", path: "/a.tar", keep: true };
  const more = /** @type {const} */ ({ choice: "own", password: "x", keys: "ssh-ed25519 A" });
  assert.deepEqual(sourceOf(order), { kind: "builtin" });
  assert.deepEqual(sourceOf({ ...order, kind: "folder" }), { kind: "folder", path: "/a.tar" });
  assert.deepEqual(sourceOf({ ...order, ...more, kind: "registry" }), { kind: "image", reference: "docker://nginx", keep: true });
  assert.deepEqual(sourceOf({ ...order, ...more, kind: "file" }), {
    kind: "image",
    reference: "/a.tar",
    password: "x",
    ssh_keys: "ssh-ed25519 A",
  });
  assert.deepEqual(sourceOf({ ...order, kind: "distribution", choice: "locked" }), {
    kind: "image",
    reference: "debian",
    lock_password: true,
    keep: true,
  });
  const nat = { ...order, network: "nat", ports: "8080:80, 53:53/udp" };
  assert.deepEqual(settingsOf(nat), { "network.mode": "nat", "network.ports": ["8080:80", "53:53/udp"] });
  assert.deepEqual(settingsOf({ ...order, kind: "upload" }), { boot: false });
  assert.deepEqual(settingsOf({ ...order, kind: "file", ownInit: true }), { boot: true });
  assert.deepEqual(settingsOf({ ...order, kind: "distribution", noInit: true }), { boot: false });
  assert.deepEqual(settingsOf({ ...nat, kind: "archive", ownInit: true }), {});
});

test("kept images have users, and what was done with them is told", () => {
  const image = { id: "1", reference: "debian:trixie", title: "Debian 13", digests: ["sha256:a", "sha256:b"], date: 1, size: 2 };
  const { images, problems } = parseKept({ images: [image, { ...image, reference: "x", title: "", missing: ["sha256:a"] }] });
  assert.deepEqual(problems, []);
  assert.deepEqual(images.map(({ title, whole }) => [title, whole]), [["Debian 13", true], ["x", false]]);
  assert.throws(() => parseKept({ images: [{ id: 1 }] }), { why: /^kept.images\[0\]\./ });
  const containers = ["b", "a"].map((name) => parseContainer({ name, state: {}, settings: { image: "debian:trixie" } }));
  assert.deepEqual(usersOf(images[0], containers), ["a", "b"]);
  assert.deepEqual(usersOf(images[1], containers), []);
  const job = (/** @type {string} */ kind, /** @type {unknown} */ result) => parseJob({ id: "1", kind, state: "done", result });
  assert.equal(outcomeOf(job("prune", { count: 2, bytes: 2048 })), "2.0 KiB freed.");
  assert.match(outcomeOf(job("prune", { count: 0, bytes: 0 })), /nothing/);
  assert.match(outcomeOf(job("verify", { damaged: [] })), /as it was fetched/);
  const bad = job("verify", { damaged: ["sha256:b", "sha256:c"] });
  assert.match(outcomeOf(bad), /^2 files are damaged/);
  assert.deepEqual(damagedBy(bad, images), ["Debian 13, x: sha256:b", "sha256:c"]);
  assert.deepEqual(damagedBy(job("prune", { count: 0 }), images), []);
});
