// The last hour or day of the slices that changed, a lane each. What is done
// shows by the height of the bar as well as by its colour: thin while
// announced, more while less preferred, then draining, full while withdrawn.

import { h, s, mark } from "./dom.js";
import { at, clock, day, hour, span, stance } from "./words.js";

const windows = [1, 6, 24, 168].map((n) => n * 3600e3);
const most = 8;

const kind = (st) => (st.action === "withdraw" ? "bad" : st.action === "drain" ? "notice" : st.rung ? "warn" : "good");
const height = { good: 2, warn: 4, notice: 6, bad: 10 };
const words = { good: "announced", warn: "less preferred", notice: "draining", bad: "withdrawn" };

// lanes draws what the entries say of stances; nothing where they say nothing.
export function lanes(entries) {
  const now = clock.now();
  const moves = entries.filter((e) => e.kind === "decision" && e.slice && e.data?.before && e.data?.after && stance(e.data.before) !== stance(e.data.after));
  const width = windows.find((w) => moves.some((e) => at(e.time) > now - w));
  if (!width) return null;
  const bySlice = new Map();
  for (const e of moves.filter((e) => at(e.time) > now - width)) {
    if (!bySlice.has(e.slice)) bySlice.set(e.slice, []);
    bySlice.get(e.slice).push(e);
  }
  const last = (list) => at(list[list.length - 1].time);
  const all = [...bySlice].sort(([, a], [, b]) => last(b) - last(a));
  const used = new Set();
  const rows = all.slice(0, most).map(([slice, list]) => lane(slice, list, now - width, width, used));
  return h("div", { class: "lanes", "data-key": "lanes" }, rows,
    h("div", { class: "axis" }, h("div", null, [1, 0.75, 0.5, 0.25].map((p) => h("span", null, "−" + span(width * p)))), h("span", null, "now")),
    h("p", { class: "key" }, Object.keys(words).filter((k) => used.has(k)).map((k) => h("span", null, bar([[k, 0, 1]]), " ", words[k])),
      all.length > most ? h("span", null, `${all.length - most} more slices changed`) : null));
}

function lane(slice, list, start, width, used) {
  const parts = [];
  let from = 0, is = list[0].data.before;
  for (const e of list) {
    const to = (at(e.time) - start) / width;
    parts.push([kind(is), from, to]);
    [from, is] = [to, e.data.after];
  }
  parts.push([kind(is), from, 1]);
  for (const [k] of parts) used.add(k);
  const told = list.map((e) => `${day(at(e.time))} ${hour(at(e.time))} ${stance(e.data.after)}`).join("; ");
  return h("div", { class: "lane " + kind(is), "data-key": slice },
    h("button", { type: "button", class: "prefix", "data-do": "explain", "data-slice": slice, "data-seq": list[list.length - 1].seq }, mark(kind(is)), slice),
    bar(parts, `${slice}: ${stance(list[0].data.before)} before; ${told}`));
}

// bar draws [kind, from, to] with shares of the whole; a change that lasted
// for a moment stays visible.
function bar(parts, label) {
  return s("svg", { viewBox: "0 0 1000 10", preserveAspectRatio: "none", class: "bars", role: label ? "img" : null, "aria-label": label, "aria-hidden": label ? null : "true" },
    parts.map(([k, from, to]) => s("rect", { class: k, x: (1000 * from).toFixed(1), width: Math.max(k === "good" ? 0.5 : 3, 1000 * (to - from)).toFixed(1), y: 10 - height[k], height: height[k] })));
}
