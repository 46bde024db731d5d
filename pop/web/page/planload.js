// Who would carry how much, as bars: now, then, and between what it lies.

import { h, s, mark, table, cell } from "./dom.js";
import { percent } from "./words.js";
import { amount } from "./load.js";

const limit = (l) => l.supposed || l.capacity || 0;

// most is what the bars of a plan end at: a little more than what is largest.
function most(loads) {
  const of = (l) => {
    const scale = limit(l) || 1;
    return Math.max(limit(l) ? 1 : 0, (l.before || 0) / scale, l.after ? l.after.high / scale : 0);
  };
  const known = (loads.pops || []).filter((l) => limit(l));
  return Math.max(1, ...known.map(of)) * 1.05;
}

// loads shows the POPs of a plan, or of what could be done instead.
export function loads(l, title) {
  if (!l) return null;
  const end = most(l);
  const pops = l.pops || [];
  return h("div", { class: "plan-loads", "data-key": title },
    pops.length ? h("div", { class: "scroll", role: "region", "aria-label": title, tabindex: 0 },
      table(title, [{ title: "Load" }, { title: "Now" }, { title: "Then" }, { title: "In 95 of 100 cases" }, { title: "Of what it can carry" }],
        h("tbody", { role: "rowgroup" }, pops.map((p) => row(l, p, end))))) : null,
    (l.notes || []).length ? h("ul", { class: "muted" }, l.notes.map((n) => h("li", null, n))) : null);
}

function row(l, p, end) {
  const r = p.after, can = limit(p);
  const tooMuch = r && can && r.high > can;
  return h("tr", { role: "row", "data-key": p.pop },
    h("th", { scope: "row", role: "rowheader" }, p.pop),
    cell("Now", null, p.before === undefined ? "not known" : share(l, p, p.before, p.capacity)),
    cell("Then", null, r ? share(l, p, r.mean, can) : p.change ? more(l, p.change.mean) : "not known"),
    cell("In 95 of 100 cases", null, r ? `${share(l, p, r.low, can)} to ${share(l, p, r.high, can)}` : p.change ? `${more(l, p.change.low)} to ${more(l, p.change.high)}` : ""),
    cell("Of what it can carry", null, r && can && p.before !== undefined ? bars(p, r, can, end) : null,
      tooMuch ? [mark("warn"), r.low > can ? "too much" : "may be too much"] : h("span", { class: "muted" }, p.note || "")));
}

// share says a load as a part of what can be carried, or as it is.
function share(l, p, x, can) {
  if (l.unit === "percent") return Math.round(x) + " %";
  return can ? percent(x / can) : amount({ unit: l.unit, value: x });
}

function more(l, x) {
  const said = l.unit === "percent" ? Math.abs(Math.round(x)) + " %" : amount({ unit: l.unit, value: Math.abs(x) });
  return (x < 0 ? "−" : "+") + said;
}

// bars draws what is carried now above what would be, with its interval, and a
// line where the capacity is.
function bars(p, r, can, end) {
  const at = (x, of) => Number((100 * Math.max(0, x) / of / end).toFixed(2));
  const said = `${p.pop}: ${percent(p.before / (p.capacity || can))} now, then ${percent(r.mean / can)}, between ${percent(r.low / can)} and ${percent(r.high / can)}`;
  return s("svg", { class: "plan-bars", viewBox: "0 0 100 22", preserveAspectRatio: "none", role: "img", "aria-label": said },
    s("rect", { class: "track", width: 100, height: 22 }),
    s("rect", { class: "before", y: 2, height: 7, width: at(p.before, p.capacity || can) }),
    s("rect", { class: "after" + (r.high > can ? " over" : ""), y: 12, height: 7, width: at(r.mean, can) }),
    s("rect", { class: "between", x: at(r.low, can), y: 14.5, height: 2, width: Math.max(0.6, at(r.high, can) - at(r.low, can)) }),
    s("rect", { class: "limit", x: at(can, can), y: 0, height: 22, width: 0.6 }));
}

// instead shows what could be done instead.
export function instead(p) {
  const a = p.alternative;
  if (!a) return p.compared ? h("p", { class: "muted", "data-key": "instead" }, `Compared with ${p.compared} alternatives: none is better.`) : null;
  const part = a.part !== undefined && a.part < 0.995 ? ` (${percent(a.part)} of what was to leave)` : "";
  return h("section", { "data-key": "instead" },
    h("h3", null, `The cheapest of ${p.compared} alternatives`),
    h("p", null, h("b", null, a.text), part, ": ", a.why, "."),
    loads(a.loads, "Load with the alternative"),
    (a.commands || []).length ? h("ul", { class: "plain" }, a.commands.map((c) => h("li", null, h("code", null, c)))) : null);
}
