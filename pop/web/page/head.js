// The head of the page: who this is, whether what is shown is live, and the
// answer to "is anything wrong".

import { h, show, mark } from "./dom.js";
import { at, age, clock, count, hour, span } from "./words.js";

const shown = 8;

export function top(feed) {
  const st = feed.status;
  const live = document.getElementById("feed");
  live.className = "feed " + (feed.live ? "good" : st ? "bad" : "off");
  if (feed.live) show(live, mark("good"), " live");
  else if (st) show(live, mark("bad"), " no answer", h("span", { "aria-hidden": "true" }, " for ", h("span", { "data-gone": true }, span(Date.now() - feed.heard))));
  else show(live, mark("off"), " catchmentd does not answer");
  document.body.classList.toggle("gone", Boolean(st) && !feed.live);
  if (!st) return;
  document.getElementById("pop").textContent = st.pop;
  show(document.getElementById("about"), st.version, " · up ", age(st.started), st.dry_run ? " · dry run" : "", st.stopping ? " · stopping" : "");
}

// tickGone keeps the age of what is shown while nobody answers.
export function tickGone(feed) {
  for (const e of document.querySelectorAll("[data-gone]")) e.textContent = span(Date.now() - feed.heard);
}

export function verdict(feed, found, all) {
  const st = feed.status;
  const section = document.getElementById("verdict");
  const bad = found.filter((p) => p.kind === "bad").length;
  const warn = found.filter((p) => p.kind === "warn").length;
  const rest = found.length - bad - warn;
  const kind = bad ? "bad" : warn ? "warn" : rest ? "notice" : "good";
  section.className = "verdict " + (feed.live ? kind : "off");
  const list = all ? found : found.slice(0, shown);
  show(section,
    feed.live ? null : h("p", { class: "stale", "data-key": "gone" }, mark("bad"), h("b", null, `${st.pop} does not answer. `),
      "What follows was so at ", h("b", null, hour(clock.now() - (Date.now() - feed.heard)), " UTC"), ", ",
      h("span", { "data-gone": true }, span(Date.now() - feed.heard)), " ago. It is asked again all the time."),
    h("div", { class: "headline", "data-key": "headline" }, h("h1", { "aria-live": "polite" }, mark(kind), sentence(bad, warn, rest)), facts(st)),
    found.length ? h("ul", { class: "problems", "data-key": "problems" }, list.map(problem)) : null,
    found.length > shown ? h("button", { type: "button", class: "quiet", "data-do": "all-problems", "data-key": "more" },
      all ? "Show fewer" : `Show all ${found.length}`) : null);
  document.title = (feed.live ? (bad + warn ? `(${bad + warn}) ` : "") : "? ") + st.pop + " · Catchment";
}

function sentence(bad, warn, rest) {
  if (bad) return count(bad, "thing is wrong", "things are wrong") + (warn ? `, ${warn} more ${warn === 1 ? "needs" : "need"} a look` : "");
  if (warn) return count(warn, "thing needs a look", "things need a look");
  if (rest) return "All is well, with " + count(rest, "thing on purpose", "things on purpose");
  return "All is well";
}

function facts(st) {
  const slices = st.services.flatMap((svc) => svc.slices);
  const checks = st.services.flatMap((svc) => svc.checks || []);
  const fleet = st.fleet || [];
  const fact = (title, n, of, href) => h("div", { class: n === of ? "" : "short" }, h("dt", null, h("a", { href }, title)), h("dd", null, h("b", null, n.toLocaleString("en")), " of " + of.toLocaleString("en")));
  return h("dl", { class: "facts" },
    fact("slices announced", slices.filter((sl) => sl.stance.action !== "withdraw" && !sl.note).length, slices.length, "#services"),
    fact("checks up", checks.filter((c) => c.verdict === "up").length, checks.length, "#checks"),
    fact("sessions up", st.neighbors.filter((n) => n.state === "established").length, st.neighbors.length, "#sessions"),
    fleet.length ? fact("other POPs heard", fleet.filter((p) => !p.stale).length, fleet.length, "#fleet") : null);
}

function problem(p) {
  const [first, ...more] = p.lines;
  const words = { bad: "wrong", warn: "look at", notice: "on purpose" };
  return h("li", { "data-key": p.key, class: p.kind },
    h("span", { class: "tag" }, mark(p.kind), words[p.kind]),
    h("div", null,
      p.slice ? h("button", { type: "button", class: "title", "data-do": "explain", "data-slice": p.slice }, p.title)
        : h("a", { class: "title", href: "#" + (p.at || "services") }, p.title),
      at(p.since) ? h("span", { class: "muted" }, " for ", age(p.since)) : null,
      h("p", { class: "why" }, first),
      more.length ? h("ul", { class: "more" }, more.slice(0, 4).map((l) => h("li", null, l))) : null));
}
