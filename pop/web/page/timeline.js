// What was decided and what happened, newest first.

import { h, show, mark } from "./dom.js";
import { lanes } from "./lanes.js";
import { at, day, hour, reason, stance } from "./words.js";

export const step = 40;

// timeline shows the entries of a kind that the filter's words match.
export function timeline(journal, { kind, text, many }) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = journal.filter((e) => (!kind || e.kind === kind) && words.every((w) => `${e.service || ""} ${e.slice || ""} ${e.text}`.toLowerCase().includes(w))).reverse();
  const days = new Map();
  for (const e of chosen.slice(0, many)) {
    const d = day(at(e.time));
    if (!days.has(d)) days.set(d, []);
    days.get(d).push(e);
  }
  show(document.getElementById("lanes"), lanes(chosen.toReversed()));
  show(document.getElementById("entries"),
    [...days].map(([d, list]) => h("div", { "data-key": d }, h("h3", { class: "day" }, d), h("ol", { class: "entries" }, list.map(entry)))),
    chosen.length ? null : h("p", { class: "empty" }, "Nothing is in the journal that matches."),
    chosen.length > many ? h("p", { class: "empty", "data-key": "more" }, h("button", { type: "button", class: "quiet", "data-do": "more-entries" }, `Show older (${chosen.length - many} more)`)) : null);
}

function entry(e) {
  const kind = entryKind(e);
  return h("li", { "data-key": "seq" + e.seq, class: kind },
    h("time", { datetime: e.time }, hour(at(e.time))),
    h("span", { class: "state" }, mark(kind), e.kind),
    h("span", { class: "what" },
      e.slice ? h("button", { type: "button", class: "prefix", "data-do": "explain", "data-slice": e.slice, "data-seq": e.seq, title: "Explain " + e.slice }, e.slice) : null,
      e.slice ? " " : null,
      e.service && !(e.text || "").includes(" " + e.service + " ") ? h("span", { class: "muted" }, e.service, " ") : null, change(e), rest(e)));
}

// change is what a decision made of what.
function change(e) {
  const { before, after } = e.data || {};
  if (e.kind !== "decision" || !before || !after || stance(before) === stance(after)) return null;
  return h("span", { class: "change" }, stance(before), " → ", h("b", null, stance(after)), " ");
}

// rest is why, without what is said beside it already.
function rest(e) {
  let text = e.kind === "decision" ? reason(e.data?.reason) || e.text : e.text;
  if (e.slice && text.startsWith(e.slice + ": ")) text = text.slice(e.slice.length + 2);
  return h("span", { class: "why" }, text, e.data?.by && !text.includes(e.data.by) ? ` (${e.data.by})` : "");
}

export function entryKind(e) {
  const after = e.data?.after;
  switch (e.kind) {
    case "decision":
      if (e.data?.reason?.code === "guarded") return "warn";
      if (!after || e.data.reason?.code === "starting") return "off";
      if (["hold-down", "damped"].includes(e.data.reason?.code)) return "warn";
      if (after.action === "withdraw") return e.data.reason?.code === "operator" ? "notice" : "bad";
      return after.action === "drain" ? "notice" : after.rung ? "warn" : "good";
    case "alarm": return "bad";
    case "guard": case "gap": return "warn";
    case "intent": case "config": return "notice";
    case "peer": return /-> (established|up)\b/i.test(e.text) ? "good" : /(established|up) ->/i.test(e.text) ? "bad" : "off";
  }
  return "off";
}
