// The what-if form: POST /v1/plan asks the code that decides, and does nothing.

import { h, show, mark } from "./dom.js";
import { call } from "./feed.js";
import { count, reason, stance, took } from "./words.js";
import { instead, loads } from "./planload.js";

// kinds of suppositions, and which fields each takes.
const kinds = {
  check: ["checks of a service fail", "service", "check", "verdict"],
  drain: ["an operator drains", "where", "scope"],
  withdraw: ["an operator withdraws at once", "where", "scope"],
  prepend: ["an operator pins to a rung", "where", "scope", "rung"],
  undrain: ["the drain ends", "where", "scope"],
  capacity: ["a POP can carry less or more", "where", "capacity"],
  hold: ["an operator holds", "scope"],
  release: ["holds and pins end", "scope"],
  pop: ["another POP is", "pop", "popis"],
  neighbor: ["a BGP session is", "neighbor", "neighboris"],
  stop: ["this daemon is told to stop"],
};

// rungs are said by how often they prepend: their names are the daemon's.
const rungs = [1, 2, 3, 4, 5].map((n) => [String(n), `prepends ${n} more`]);

export class Plan {
  there = false;
  services = "";

  constructor(feed) {
    this.feed = feed;
    this.form = document.getElementById("plan-form");
    this.form.addEventListener("change", () => this.draw());
    this.form.addEventListener("submit", (e) => {
      e.preventDefault();
      this.ask();
    });
  }

  // probe finds out whether there is such a call.
  async probe() {
    try {
      await call("POST", "v1/plan", { suppose: [] });
      this.there = true;
    } catch (e) {
      this.there = e.status === 400;
    }
    document.getElementById("whatif").hidden = !this.there;
    document.querySelector('nav a[href="#whatif"]').hidden = !this.there;
    if (this.there) this.draw();
  }

  value(name) {
    return this.form.elements[name]?.value || "";
  }

  draw() {
    const st = this.feed.status;
    if (!st || !this.there) return;
    const kind = this.value("kind") || "check";
    const has = (f) => kinds[kind].includes(f);
    const service = st.services.find((svc) => svc.id === this.value("service")) || st.services[0];
    const select = (name, title, options) => h("label", { "data-key": name }, h("span", null, title), h("select", { name }, options.map(([v, words]) =>
      h("option", { value: v, "data-key": name + v, selected: (name === "kind" ? kind : this.value(name)) === v }, words))));
    show(this.form,
      select("kind", "Suppose that", Object.entries(kinds).map(([k, [words]]) => [k, words])),
      has("where") && (st.fleet || []).length ? select("where", "At", [["", st.pop + ", this POP"], ...st.fleet.map((p) => [p.pop, p.pop])]) : null,
      has("service") || has("scope") ? select("service", "Service", [...(has("scope") ? [["", "all of this POP"]] : []), ...st.services.map((svc) => [svc.id, svc.id])]) : null,
      has("scope") && this.value("service") ? select("slice", "Slice", [["", "all its slices"], ...(service?.slices || []).map((sl) => [sl.slice, sl.slice])]) : null,
      has("rung") ? select("rung", "Rung", rungs) : null,
      has("capacity") ? select("capacity", "Of what it can now", [["0.5", "50 %"], ["0.7", "70 %"], ["0.8", "80 %"], ["0.9", "90 %"], ["1.25", "125 %"], ["1.5", "150 %"]]) : null,
      has("check") ? select("check", "Check", [["", "all its checks"], ...(service?.checks || []).map((c) => [c.id, c.id])]) : null,
      has("verdict") ? select("verdict", "Says", [["down", "down"], ["degraded", "degraded"], ["up", "up"], ["unknown", "unknown"]]) : null,
      has("pop") ? select("pop", "POP", (st.fleet || []).map((p) => [p.pop, p.pop])) : null,
      has("popis") ? select("popis", "Is", [["gone", "gone: announces nothing"], ["silent", "silent: not heard any more"], ["down", "down, and wants to leave"], ["up", "up, and announces all"]]) : null,
      has("neighbor") ? select("neighbor", "Neighbor", st.neighbors.map((n) => [n.address, n.address])) : null,
      has("neighboris") ? select("neighboris", "Is", [["down", "down"], ["up", "up"]]) : null,
      h("button", { type: "submit", "data-key": "go" }, "What would happen?"));
  }

  supposition() {
    const kind = this.value("kind");
    const out = { kind };
    const fields = { service: "service", slice: "slice", check: "check", verdict: "verdict", pop: "pop", neighbor: "neighbor", popis: "is", neighboris: "is", where: "pop", rung: "rung" };
    for (const [field, key] of Object.entries(fields)) if (this.value(field)) out[key] = this.value(field);
    if (this.value("capacity")) out.capacity = Number(this.value("capacity"));
    if (out.slice) delete out.service;
    return out;
  }

  async ask() {
    const said = document.getElementById("plan");
    show(said, h("p", { class: "muted" }, "Asking…"));
    try {
      show(said, result(await call("POST", "v1/plan", { suppose: [this.supposition()] })));
    } catch (e) {
      show(said, h("p", { class: "error" }, mark("bad"), e.message));
    }
  }
}

const meant = (s) => (s.steps || []).filter((st) => !st.anyway);

function result(p) {
  const moved = (p.slices || []).filter((s) => meant(s).length || (s.objections || []).some((o) => !o.anyway));
  const still = (p.slices || []).length - moved.length;
  return [
    h("h3", { "data-key": "title" }, "If ", (p.suppose || []).join("; "), ":"),
    p.refused ? h("p", { class: "error" }, mark("bad"), p.refused) : null,
    moved.length ? h("ul", { class: "plan", "data-key": "moved" }, moved.map(slice)) : h("p", { "data-key": "none" }, mark("good"), "Nothing would change in what is announced."),
    loads(p.loads, "Load"),
    instead(p),
    moved.length && still ? h("p", { class: "muted" }, `${count(still, "other slice")} would stay as ${still === 1 ? "it is" : "they are"}.`) : null,
    (p.notes || []).length ? h("ul", { class: "muted", "data-key": "notes" }, p.notes.map((n) => h("li", null, n))) : null,
    h("p", { class: "muted small" }, `Looked ${took(p.until)} ahead${p.settled ? "; after that nothing changes by itself" : ""}. Nothing was done.`),
  ];
}

function slice(s) {
  const steps = meant(s);
  return h("li", { "data-key": s.slice },
    h("p", null, h("b", { class: "mono" }, s.slice), " ", h("span", { class: "muted" }, s.service), " ", stance(s.before.stance, s.before.rung),
      " → ", h("b", null, stance(s.after.stance, s.after.rung))),
    steps.length ? h("ol", { class: "plain" }, steps.map((st) => h("li", null, h("span", { class: "when" }, st.at === "0s" ? st.when : `${took(st.at) || st.at}, ${st.when}`), " ",
      h("b", null, stance(st.stance, st.rung)), h("span", { class: "muted" }, ", ", reason(st.reason))))) : null,
    (s.objections || []).filter((o) => !o.anyway).map((o) => h("p", null, mark("warn"), "guard ", h("b", null, o.guard), ` says ${o.says}: ${o.detail || ""}; instead of ${stance(o.wanted)}: ${stance(o.instead, o.rung)}`)),
    (s.advice || []).map((a) => h("p", { class: "advice" }, a)));
}
