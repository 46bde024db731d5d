// What is carried, against what can be carried.

import { h, show, mark, table, cell, gauge } from "./dom.js";
import { age, percent } from "./words.js";

const names = {
  in: "in", out: "out", requests: "requests", connections: "connections", cpu: "CPU",
  "pressure-cpu": "CPU pressure", "pressure-memory": "memory pressure", "pressure-io": "I/O pressure",
};
const shares = new Set(["cpu", "pressure-cpu", "pressure-memory", "pressure-io"]);

// most is what a load is measured against; 0 where nobody said.
const most = (l) => l.capacity || (shares.has(l.unit) ? 1 : 0);

export const full = (l) => (l.value === undefined || l.value === null || !most(l) ? 0 : l.value / most(l));

// number says a rate with an SI prefix: 3.2 G.
function number(n) {
  for (const [size, prefix] of [[1e12, " T"], [1e9, " G"], [1e6, " M"]]) {
    if (n >= size) return (n / size >= 100 ? Math.round(n / size) : Number((n / size).toPrecision(2))) + prefix;
  }
  return Math.round(n).toLocaleString("en") + " ";
}

// amount says a load: 3.2 Gbit/s of 10 Gbit/s.
export function amount(l) {
  if (l.value === undefined || l.value === null) return "not known";
  if (shares.has(l.unit)) return percent(l.value);
  const unit = { in: "bit/s", out: "bit/s", requests: "/s" }[l.unit] || "";
  const say = (n) => (number(n) + unit).trim().replace(" /s", "/s");
  return say(l.value) + (l.capacity ? " of " + say(l.capacity) : "");
}

// meter shows a load with a bar, where there is something to measure it by.
export function meter(l) {
  const over = full(l) >= 1 && !l.unit.startsWith("pressure");
  return h("span", { class: "capacity" + (over ? " over" : "") }, most(l) && full(l) !== undefined ? gauge(full(l), "") : null,
    over ? [mark("warn"), h("b", null, amount(l))] : amount(l));
}

// service says what a service carries.
export function serviceLoad(svc) {
  return (svc.measured || []).map((l) => h("span", { class: "load" }, h("span", { class: "muted" }, names[l.unit] || l.unit, " "), meter(l)));
}

// loads shows the POP and its hosts.
export function loads(st) {
  const r = st.load;
  const parent = document.getElementById("load");
  if (!r || !(r.pop || []).length) return show(parent);
  const units = [...new Set([...r.pop, ...(r.hosts || []).flatMap((o) => o.load || [])].map((l) => l.unit))];
  const row = (name, list) => h("tr", { role: "row", "data-key": name }, h("th", { scope: "row", role: "rowheader" }, name), units.map((u) => {
    const l = list.find((o) => o.unit === u);
    return cell(names[u] || u, null, l ? meter(l) : "–");
  }));
  const hosts = r.hosts || [];
  show(parent, h("div", { class: "panel scroll", role: "region", "aria-label": "Load", tabindex: 0, "data-key": "load" },
    table("Load of this POP against what it can carry", [{ title: "Load" }, ...units.map((u) => ({ title: names[u] || u }))],
      h("tbody", { role: "rowgroup" }, row(st.pop, r.pop), hosts.length > 1 ? hosts.map((o) => row(o.host, o.load || [])) : null)),
    failing(r).map((s) => h("p", { class: "empty" }, mark("warn"), `${s.name} of ${s.of} is not measured: ${s.error}, for `, age(s.since)))));
}

export function failing(report) {
  return ((report && report.sources) || []).filter((s) => s.error && !s.absent);
}
