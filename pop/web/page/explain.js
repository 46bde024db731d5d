// Why a slice is as it is, and what would change it: a drawer over the page.

import { h, show, mark } from "./dom.js";
import { call } from "./feed.js";
import { age, at, day, hour, percent, reason, sliceKind, stance, took, verdictKind } from "./words.js";
import { changeForm, forget } from "./change.js";

const pace = 700; // ms between two questions while things change

export class Explain {
  slice = "";
  entry = null; // of the journal, where one was clicked
  answer = null;
  error = "";

  // rights says what may be changed; feed is asked for the live status.
  constructor(feed, rights) {
    this.feed = feed;
    this.rights = rights;
    this.dialog = document.getElementById("explain");
    this.dialog.addEventListener("close", () => {
      this.slice = "";
      if (location.hash.startsWith("#/")) history.replaceState(null, "", location.pathname);
    });
    this.dialog.addEventListener("click", (e) => {
      if (e.target === this.dialog) this.dialog.close(); // beside the drawer
    });
  }

  open(slice, entry = null) {
    this.slice = slice;
    this.entry = entry;
    this.answer = null;
    this.error = "";
    forget();
    history.replaceState(null, "", "#/explain/" + slice);
    this.draw();
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
    this.ask();
  }

  // refresh asks again soon, because the slice may have changed.
  refresh() {
    if (this.slice) this.timer ||= setTimeout(() => this.ask(), pace);
  }

  async ask() {
    clearTimeout(this.timer);
    this.timer = 0;
    const slice = this.slice;
    if (!slice || this.asking) return;
    this.asking = true;
    try {
      const answer = await call("GET", "v1/explain/" + encodeURI(slice));
      if (slice === this.slice) [this.answer, this.error] = [answer, ""];
    } catch (e) {
      if (slice === this.slice) this.error = e.message;
    }
    this.asking = false;
    if (this.slice && slice !== this.slice) this.ask();
    else if (this.slice) this.draw();
  }

  draw() {
    const e = this.answer;
    show(this.dialog,
      h("header", { "data-key": "head" },
        h("h2", { id: "explain-title" }, h("span", { class: "mono" }, this.slice), e ? h("small", null, `of ${e.slice.service} at ${e.pop}`) : null),
        h("button", { type: "button", class: "quiet", "data-do": "close", autofocus: true }, "Close")),
      this.error ? h("p", { class: "error", "data-key": "error" }, mark("bad"), this.error) : null,
      e ? now(e) : this.error ? null : h("p", { class: "muted", "data-key": "wait" }, "Asking…"),
      this.entry ? then(this.entry) : null,
      e ? details(e) : null,
      e && this.rights.change ? changeForm(e) : null);
  }
}

function now(e) {
  const sl = e.slice, kind = sliceKind(sl);
  return h("section", { class: "now " + kind, "data-key": "now" },
    h("p", { class: "big" }, mark(kind), h("b", null, stance(sl.stance, sl.rung)), at(sl.since) ? [" for ", age(sl.since)] : ""),
    h("p", null, "because ", reason(sl.reason)),
    sl.note ? h("p", null, h("b", null, sl.note)) : null,
    sl.wanted ? h("p", null, "The rules want ", h("b", null, stance(sl.wanted)), sl.wanted_reason ? ", " + reason(sl.wanted_reason) : "", ".") : null,
    sl.next ? h("p", null, "By itself: ", sl.next, ".") : null,
    (e.would_change || []).length ? [h("h3", null, "What would change it"), h("ul", null, e.would_change.map((w) => h("li", null, w)))] : null);
}

// then is the journal's entry that was clicked, with what the guards said.
function then(j) {
  const d = j.data || {};
  return h("section", { class: "then", "data-key": "then" },
    h("h3", null, `Decided ${day(at(j.time))} ${hour(at(j.time))} UTC`),
    d.before && d.after ? h("p", null, stance(d.before), " → ", h("b", null, stance(d.after)), d.reason ? ", because " + reason(d.reason) : "") : h("p", null, j.text),
    d.by ? h("p", null, "by ", d.by) : null,
    (d.guards || []).length ? h("ul", { class: "plain" }, d.guards.map((g) => guard({ guard: g.name, says: g.verdict, detail: g.detail }))) : null);
}

const guardKind = { allow: "good", veto: "bad", weaken: "warn", wait: "warn", off: "off" };

function guard(g) {
  return h("li", null, mark(guardKind[g.says] || "off"), h("b", null, g.guard), " ", g.says, g.detail ? h("span", { class: "muted" }, ": ", g.detail) : null);
}

function details(e) {
  const part = (title, list) => (list.length ? h("section", { "data-key": title }, h("h3", null, title), h("ul", { class: "plain" }, list)) : null);
  return [
    part("Guards", (e.slice.guards || []).map(guard)),
    part(e.always ? "Checks (they decide nothing here)" : `Checks: ${e.health.verdict}, ${percent(e.health.fraction)} of the capacity`, (e.checks || []).map((c) =>
      h("li", null, mark(verdictKind[c.verdict]), h("b", null, c.id), " ", c.verdict, " for ", age(c.since, "–"), h("span", { class: "muted" }, c.latency ? ` ${took(c.latency)}` : "", c.detail ? ": " + c.detail : "")))),
    part("Other POPs", (e.fleet || []).map((f) => h("li", null, mark(f.counts ? "good" : f.stale ? "off" : "warn"), h("b", null, f.pop), " ", at(f.heard) ? stance(f.slice.stance) : "never heard",
      f.slice.reason ? ", " + f.slice.reason : "", h("span", { class: "muted" }, f.counts ? " – counts as announcing" : ` – does not count${f.because ? ": " + f.because : ""}`)))),
    part("Operator's intents", (e.intents || []).map((i) => h("li", null, mark("notice"), h("b", null, i.kind), ", ", i.by, i.why ? ": " + i.why : "", h("span", { class: "muted" }, " for ", age(i.at))))),
    part("What routers hear", heard(e.slice.announced)),
    part("Journal", (e.journal || []).slice().reverse().map((j) => h("li", null, h("time", { datetime: j.time, class: "muted" }, day(at(j.time)), " ", hour(at(j.time))), " ",
      j.text.startsWith(e.slice.slice + ": ") ? j.text.slice(e.slice.slice.length + 2) : j.text))),
  ];
}

function heard(a) {
  if (!a) return [h("li", { class: "muted" }, "nothing: it is not announced")];
  const said = attributes(a);
  return [h("li", null, said.length ? said.join(", ") : "the prefix, without further attributes"),
    ...(a.neighbors || []).map((n) => h("li", null, h("b", { class: "mono" }, n.neighbor), " ", n.withhold ? "does not hear it" : attributes(n).join(", ")))];
}

export function attributes(a) {
  return [
    a.prepend ? `own AS ${a.prepend}× more` : "", a.med !== undefined ? `MED ${a.med}` : "", a.local_pref !== undefined ? `local preference ${a.local_pref}` : "",
    a.communities?.length ? "communities " + a.communities.join(" ") : "", a.large_communities?.length ? "large communities " + a.large_communities.join(" ") : "",
    a.next_hop && a.next_hop !== "self" ? "next hop " + a.next_hop : "",
  ].filter(Boolean);
}
