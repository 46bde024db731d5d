// Services and their slices: for each slice what every POP does with it, and
// why. Of a thousand services only a page is drawn.

import { h, show, keep, mark, cell, gauge } from "./dom.js";
import { serviceLoad } from "./load.js";
import { age, count, percent, peerKind, reason, severity, sliceKind, stance, verdictKind, worst } from "./words.js";

export const perPage = 40;

// Choice is what of the services is shown.
export class Choice {
  text = "";
  only = false;
  page = 0;

  // of returns the services chosen, all of them, in the order of the
  // configuration.
  of(st) {
    const words = this.text.toLowerCase().split(/\s+/).filter(Boolean);
    return st.services.filter((svc) => (!this.only || needsLook(svc, st)) && words.every((w) => names(svc).includes(w)));
  }

  // shown returns those on the page.
  shown(st) {
    const all = this.of(st);
    this.page = Math.max(0, Math.min(this.page, Math.ceil(all.length / perPage) - 1));
    return { all, list: all.slice(this.page * perPage, (this.page + 1) * perPage) };
  }
}

// What is found out about an object of the status holds as long as the object:
// the feed puts a new one where something changed.
const searched = new WeakMap();
const bySlice = new WeakMap();

function names(svc) {
  if (!searched.has(svc)) searched.set(svc, [svc.id, ...svc.slices.map((sl) => sl.slice), ...(svc.checks || []).map((c) => c.id)].join(" ").toLowerCase());
  return searched.get(svc);
}

function slicesOf(peer) {
  if (!bySlice.has(peer)) bySlice.set(peer, new Map((peer.slices || []).map((sl) => [sl.slice, sl])));
  return bySlice.get(peer);
}

function needsLook(svc, st) {
  if (!svc.always && severity[verdictKind[svc.health.verdict]] > 0) return true;
  if (svc.slices.some((sl) => severity[sliceKind(sl)])) return true;
  return (st.fleet || []).some((p) => svc.slices.some(({ slice }) => slicesOf(p).has(slice) && severity[peerKind(slicesOf(p).get(slice), p)]));
}

let drawn = { of: new Map() }; // what is shown, and what it was drawn from

export function services(st, choice) {
  const { all, list } = choice.shown(st);
  const peers = (st.fleet || []).map((p) => ({ ...p, of: slicesOf(p) }));
  const heads = ["Slice", st.pop + ", here", ...peers.map((p) => p.pop)];
  const wide = heads.length + 1;
  const same = drawn.fleet === st.fleet && drawn.pop === st.pop;
  show(document.getElementById("slices"),
    h("table", { role: "table", class: "matrix", "data-key": "table" },
      h("caption", { class: "hidden" }, "Slices by service, with the stance of each POP and its reason"),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
        heads.map((t) => h("th", { scope: "col", role: "columnheader" }, t)), h("th", { scope: "col", role: "columnheader", class: "num" }, "For"))),
      list.map((svc) => same && drawn.of.get(svc.id) === svc ? keep("tbody", svc.id) : h("tbody", { role: "rowgroup", "data-key": svc.id }, head(svc, wide), svc.slices.map((sl) => row(sl, st, peers))))),
    list.length ? null : h("p", { class: "empty" }, st.services.length ? "Nothing matches: all services are as they should be, or the filter is too narrow." : "No service is configured."));
  drawn = { fleet: st.fleet, pop: st.pop, of: new Map(list.map((svc) => [svc.id, svc])) };
  pager(all.length, choice, st);
  return list;
}

function head(svc, wide) {
  const checks = (svc.checks || []).length;
  const up = (svc.checks || []).filter((c) => c.verdict === "up").length;
  const kind = svc.always ? "good" : worst([verdictKind[svc.health.verdict]].filter((k) => k !== "off").concat(svc.health.verdict === "unknown" ? "warn" : []));
  return h("tr", { role: "row", class: "service" }, h("th", { scope: "rowgroup", role: "rowheader", colspan: wide }, h("div", null,
    h("b", { class: "id" }, svc.id),
    h("span", { class: "state " + kind }, mark(kind), svc.always ? "announced without checks" : svc.health.maintenance ? "maintenance" : svc.health.verdict, svc.health.rising ? ", rising" : ""),
    svc.always ? null : h("span", { class: "capacity" }, gauge(svc.health.fraction, ""),
      percent(svc.health.fraction) + " of its capacity"),
    serviceLoad(svc),
    svc.load === undefined || svc.load === null || (svc.measured || []).some((l) => l.unit === "connections") ? null : h("span", null, count(Math.round(svc.load), "connection")),
    checks ? h("span", { class: "muted" }, `${up} of ${count(checks, "check")} up`) : null)));
}

function row(sl, st, peers) {
  const kind = sliceKind(sl);
  return h("tr", { role: "row", "data-key": sl.slice },
    h("th", { scope: "row", role: "rowheader" }, h("button", { type: "button", class: "prefix", "data-do": "explain", "data-slice": sl.slice, title: "Explain " + sl.slice }, sl.slice),
      sl.cover ? h("span", { class: "muted" }, " cover") : null),
    cell(st.pop, { class: "stance " + kind, "data-pop": st.pop, "data-slice": sl.slice, "data-action": sl.stance.action },
      does(h("span", { class: "state" }, mark(kind), stance(sl.stance, sl.rung)), why(sl))),
    peers.map((p) => elsewhere(p, sl.slice)),
    cell("For", { class: "num" }, age(sl.since, "–")));
}

function why(sl) {
  const parts = [sl.note || (sl.reason.code === "always" ? "always" : reason(sl.reason))];
  if (sl.wanted && sl.reason.code === "guarded") parts.push("wants " + stance(sl.wanted));
  if (sl.next) parts.push(sl.next);
  return parts.join("; ");
}

function elsewhere(p, slice) {
  const sl = p.of.get(slice);
  if (!sl) return cell(p.pop, { class: "stance off", "data-pop": p.pop, "data-slice": slice }, h("span", { class: "muted" }, p.stale ? "not heard" : "not there"));
  const kind = peerKind(sl, p);
  return cell(p.pop, { class: "stance " + kind, "data-pop": p.pop, "data-slice": slice, "data-action": sl.stance.action },
    does(h("span", { class: "state" }, mark(kind), stance(sl.stance), sl.leaving && sl.stance.action !== "withdraw" ? ", wants to leave" : ""),
      p.stale ? "as last heard" : sl.note || (sl.reason || "").replace(/^always:.*/, "always") || (sl.failing?.length ? sl.failing.join(", ") + " failing" : p.source === "rib" ? "by its routes" : "")));
}

function does(state, why) {
  return h("div", { class: "does" }, state, " ", h("span", { class: "why", title: why.length > 60 ? why : null }, why));
}

function pager(n, choice, st) {
  const pages = Math.ceil(n / perPage);
  const from = choice.page * perPage + 1, to = Math.min(n, from + perPage - 1);
  const part = n < st.services.length ? ` of ${st.services.length}` : "";
  show(document.getElementById("pager"),
    h("span", { role: "status" }, pages > 1 ? `${from}–${to} of ${count(n, "service")}` : count(n, "service") + part),
    pages > 1 ? h("button", { type: "button", class: "quiet", "data-do": "page", "data-by": -1, disabled: choice.page === 0 }, "Previous") : null,
    pages > 1 ? h("button", { type: "button", class: "quiet", "data-do": "page", "data-by": 1, disabled: choice.page >= pages - 1 }, "Next") : null);
}
