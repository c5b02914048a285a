/** The page's modules that touch no document. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ConsoleText } from "../../../webroot/js/ansi.js";
import { bytes, duration, sentence, shorten } from "../../../webroot/js/format.js";
import { parseContainer, parseJob } from "../../../webroot/js/model.js";
import { problemOf } from "../../../webroot/js/problem.js";
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
