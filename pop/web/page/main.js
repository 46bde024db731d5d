// Ties the page together: what the feed says is drawn, at most once a frame,
// and only the parts that it concerns.

import { Feed, call } from "./feed.js";
import { tick } from "./words.js";
import { top, tickGone, verdict } from "./head.js";
import { problems } from "./problems.js";
import { fleetTable, intents } from "./fleet.js";
import { core } from "./core.js";
import { loads } from "./load.js";
import { loadLand, picture } from "./map.js";
import { Choice, services } from "./slices.js";
import { checks, sessions } from "./lists.js";
import { step, timeline } from "./timeline.js";
import { Explain } from "./explain.js";
import { endIntent, submitChange } from "./change.js";
import { Plan } from "./plan.js";

const rights = { change: false };
const choice = new Choice();
const past = { kind: "", text: "", many: step };
let allProblems = false;
let found = [];

const dirty = new Set();
const feed = new Feed((kind) => later(kind));
const explain = new Explain(feed, rights);
const plan = new Plan(feed);

let cost = 0; // of the last drawing, in ms
let ended = 0;

// later draws soon what an event of that kind concerns: with the next frame,
// but so that the page spends a fourth of the time on drawing at most. One in
// the background draws less often.
function later(kind) {
  if (!dirty.size) {
    const wait = ended + Math.min(500, 3 * cost) - performance.now();
    if (document.hidden) setTimeout(draw, 300);
    else if (wait > 8) setTimeout(draw, wait);
    else requestAnimationFrame(draw);
  }
  dirty.add(kind);
}

function draw() {
  const began = performance.now();
  drawDirty();
  ended = performance.now();
  cost = ended - began;
}

function drawDirty() {
  const kinds = new Set(dirty);
  dirty.clear();
  const any = (...names) => names.some((n) => kinds.has(n));
  top(feed);
  const st = feed.status;
  if (!st) return;
  if (any("status", "service", "neighbor", "pop", "feed", "choice")) {
    found = problems(st);
    verdict(feed, found, allProblems);
  }
  if (any("status", "service", "pop")) {
    fleetTable(st);
    picture(st);
    explain.refresh();
  }
  if (any("status", "pop")) {
    intents(st, rights.change);
    loads(st);
    core(st);
  }
  if (any("status", "service", "pop", "choice")) checks(services(st, choice));
  if (any("status", "neighbor")) sessions(st.neighbors);
  if (any("status", "journal", "choice")) timeline(feed.journal, past);
  if (any("status") || (any("feed") && feed.live)) plan.probe();
}

const actions = {
  explain: (e) => explain.open(e.dataset.slice, e.dataset.seq ? feed.journal.find((j) => j.seq === Number(e.dataset.seq)) : null),
  close: () => explain.dialog.close(),
  theme: nextTheme,
  page: (e) => {
    choice.page += Number(e.dataset.by);
    later("choice");
  },
  "all-problems": () => {
    allProblems = !allProblems;
    later("choice");
  },
  "more-entries": () => {
    past.many += step * 2;
    later("choice");
  },
  end: (e) => endIntent(e.dataset),
};

document.addEventListener("click", (event) => {
  const e = event.target.closest("[data-do]");
  if (e) actions[e.dataset.do]?.(e);
});

document.addEventListener("submit", (event) => {
  if (event.target.id === "plan-form") return;
  event.preventDefault();
  if (event.target.id === "change-form") submitChange(event.target);
});

const filter = document.getElementById("filter");
filter.addEventListener("input", () => {
  choice.text = past.text = filter.value;
  choice.page = 0;
  later("choice");
});
filter.addEventListener("keydown", (e) => {
  if (e.key !== "Escape") return;
  filter.value = "";
  filter.dispatchEvent(new Event("input"));
  filter.blur();
});
document.getElementById("only").addEventListener("change", (e) => {
  choice.only = e.target.checked;
  choice.page = 0;
  later("choice");
});
document.getElementById("kinds").addEventListener("change", (e) => {
  past.kind = e.target.value;
  past.many = step;
  later("choice");
});

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input:not([type=checkbox]), select, textarea") || explain.dialog.open) return;
  if (e.key === "/") {
    e.preventDefault();
    filter.focus();
    filter.scrollIntoView({ block: "center" });
  } else if (e.key === "t") {
    nextTheme();
  } else if (e.key === "n") {
    const all = [...document.querySelectorAll("#verdict .title")];
    all[(all.indexOf(document.activeElement) + 1) % all.length]?.focus();
  }
});

function nextTheme() {
  const root = document.documentElement;
  const next = { undefined: "light", light: "dark" }[root.dataset.theme];
  if (next) root.dataset.theme = next;
  else delete root.dataset.theme;
  try {
    localStorage.setItem("theme", next || "");
  } catch {
    // it holds until the page is loaded again
  }
  nameTheme();
}

function nameTheme() {
  document.getElementById("theme-name").textContent = document.documentElement.dataset.theme || "auto";
}

function route() {
  const slice = /^#\/explain\/(.+)$/.exec(decodeURIComponent(location.hash));
  if (slice && slice[1] !== explain.slice) explain.open(slice[1]);
}
addEventListener("hashchange", route);

async function start() {
  nameTheme();
  setInterval(() => {
    tick();
    tickGone(feed);
  }, 1000);
  setInterval(() => feed.live && later("journal"), 20000); // the lanes move on
  feed.start();
  try {
    Object.assign(rights, await call("GET", "v1/rights"));
  } catch {
    rights.change = false;
  }
  if (feed.status) later("status");
  loadLand(() => feed.status && later("pop"));
  route();
}

start();
