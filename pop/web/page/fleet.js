// The fleet as a table: what each POP does, as far as this one knows.

import { h, show, mark, table, cell, gauge } from "./dom.js";
import { age, percent, took, sliceKind, peerKind, worst, at, stance, day, hour } from "./words.js";

// pops sums up all POPs, this one first: { name, kind, word, announced, of,
// capacity, location, ... }.
export function pops(st) {
  const own = st.services.flatMap((svc) => svc.slices);
  const kinds = own.map((sl) => sliceKind(sl));
  const announced = own.filter((sl) => sl.stance.action !== "withdraw" && !sl.note).length;
  const here = {
    name: st.pop, here: true, location: st.location, capacity: 1, announced, of: own.length,
    kind: worst(kinds), ...words(own, announced),
  };
  return [here, ...(st.fleet || []).map(other)];
}

function other(p) {
  const list = p.slices || [];
  const announced = p.stale ? 0 : list.filter((sl) => sl.stance.action !== "withdraw" && !sl.note).length;
  const base = { name: p.pop, location: p.location, capacity: p.capacity, announced, of: list.length, peer: p };
  if (p.stale) return { ...base, kind: "warn", word: at(p.heard) ? "not heard" : "never heard" };
  if (!list.length) return { ...base, kind: "off", word: "announces nothing" };
  return { ...base, kind: worst(list.map((sl) => peerKind(sl, p))), ...words(list, announced) };
}

function words(list, announced) {
  if (!list.length) return { word: "has no slices" };
  if (!announced) return { word: list.every((sl) => sl.note) ? "heard by no router" : "withdrawn" };
  if (list.some((sl) => sl.stance.action === "drain")) return { word: "draining" };
  if (announced < list.length) return { word: "partly withdrawn" };
  if (list.some((sl) => sl.stance.rung)) return { word: "announcing, less preferred" };
  return { word: "announcing" };
}

export function fleetTable(st) {
  const all = pops(st);
  const total = all.reduce((sum, p) => sum + p.capacity, 0);
  const columns = [{ title: "POP" }, { title: "State" }, { title: "Announces", class: "num" }, { title: "Capacity" }, { title: "Heard", class: "num" }, { title: "RTT", class: "num" }];
  const rows = all.map((p) => h("tr", { role: "row", "data-key": p.name, class: p.kind },
    h("th", { scope: "row", role: "rowheader" }, p.name, p.here ? h("span", { class: "muted" }, " here") : null),
    cell("State", { class: "wide" }, h("span", { class: "state" }, mark(p.kind), p.word), p.peer?.error ? h("span", { class: "why" }, p.peer.error) : null),
    cell("Announces", { class: "num" }, p.of ? `${p.announced} of ${p.of}` : "–"),
    cell("Capacity", null, capacity(p, total)),
    cell("Heard", { class: "num" }, p.here ? "–" : at(p.peer.heard) ? [age(p.peer.heard), " ago"] : "never", p.peer?.source === "rib" ? " (by BGP)" : null),
    cell("RTT", { class: "num" }, p.peer ? took(p.peer.rtt) || "–" : "–")));
  show(document.getElementById("pops"), table("POPs of the fleet, as this one knows them", columns, h("tbody", { role: "rowgroup" }, rows)),
    all.length === 1 ? h("p", { class: "empty" }, "No other POP is configured (fleet.peers or fleet.rib).") : null);
}

// capacity shows a POP's weight in the fleet, as far as it is announced.
function capacity(p, total) {
  const used = p.of ? p.announced / p.of : 0;
  return h("span", { class: "capacity" }, gauge((p.capacity * used) / total, `${percent(used)} of weight ${p.capacity} announced`), String(p.capacity));
}

// windows lists the maintenance that is planned or under way.
function windows(all) {
  const when = (iso) => (at(iso) ? `${day(at(iso))} ${hour(at(iso)).slice(0, 5)} UTC` : "never");
  const word = { drains: "its drain has begun", "under-way": "under way", ended: "ended early" };
  return all.length ? h("div", { class: "panel padded" }, h("h3", null, "Maintenance"),
    h("ul", { class: "plain" }, all.map((w) => h("li", null, mark(w.state === "drains" || w.state === "under-way" ? "notice" : "off"),
      h("b", null, w.name), " of ", w.slice || w.service || "everything", ", ", when(w.start), " to ", when(w.end), w.why ? `: ${w.why}` : "",
      h("span", { class: "muted" }, w.state ? `, ${word[w.state] || w.state}` : "", w.by ? `, ${w.by}` : ""))))) : null;
}

// intents lists what operators asked for, and guards what is switched off.
export function intents(st, change) {
  const list = st.intents || [];
  show(document.getElementById("intents"), list.length ? h("div", { class: "panel padded" }, h("h3", null, "Asked for by operators"),
    h("ul", { class: "plain" }, list.map((i) => h("li", null, mark("notice"),
      h("b", null, i.kind, i.kind === "pin" ? " to " + stance(i.stance) : ""), " of ", i.slice || i.service || "everything", ", ", i.by,
      i.why ? `: ${i.why}` : "", h("span", { class: "muted" }, ", for ", age(i.at), i.force ? ", over the guards" : ""),
      change ? h("button", { type: "button", class: "quiet", "data-do": "end", "data-kind": i.kind, "data-slice": i.slice || "", "data-service": i.service || "" }, "End it") : null)))) : null,
  windows(st.maintenance || []));
  const off = (st.guards || []).filter((g) => g.says === "off");
  show(document.getElementById("guards"), off.length ? `Guards that are off: ${off.map((g) => g.guard).join(", ")}: ${[...new Set(off.map((g) => g.detail))].join("; ")}.` : "");
}
