// How times, stances and states are said, and which shape goes with each.

import { h } from "./dom.js";

// clock is the daemon's: ages are counted by it, not by the browser's.
export const clock = {
  offset: 0,
  now() { return Date.now() + this.offset; },
  set(iso) { this.offset = Date.parse(iso) - Date.now(); },
};

// at is a time in ms; 0 where there is none (also Go's zero time).
export function at(iso) {
  const ms = iso ? Date.parse(iso) : 0;
  return ms > 0 ? ms : 0;
}

// span says a duration in ms with one unit, as catchment top does.
export function span(ms) {
  const sec = Math.max(0, ms) / 1000;
  if (sec < 120) return Math.floor(sec) + "s";
  if (sec < 7200) return Math.floor(sec / 60) + "m";
  if (sec < 172800) return Math.floor(sec / 3600) + "h";
  return Math.floor(sec / 86400) + "d";
}

// age is a time element that keeps counting.
export function age(iso, never = "never") {
  const since = at(iso);
  if (!since) return h("span", null, never);
  return h("time", { datetime: iso, "data-since": since, title: new Date(since).toISOString() }, span(clock.now() - since));
}

// tick brings all ages that are shown up to date.
export function tick() {
  const now = clock.now();
  for (const e of document.querySelectorAll("[data-since]")) {
    const text = span(now - Number(e.dataset.since));
    if (e.textContent !== text) e.textContent = text;
  }
}

const two = (n) => String(n).padStart(2, "0");

// hour says the time of day in UTC, as the journal and the logs do.
export function hour(ms) {
  const d = new Date(ms);
  return `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())}`;
}

export function day(ms) {
  return new Date(ms).toISOString().slice(0, 10);
}

const units = { ns: 1e-6, µs: 1e-3, us: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 36e5 };

// ms reads a duration as Go or protobuf writes it: 1m30s, 0.0071s.
export function ms(d) {
  let sum = 0;
  for (const [, n, unit] of (d || "").matchAll(/([\d.]+)(ns|µs|us|ms|s|m|h)/g)) sum += Number(n) * units[unit];
  return sum;
}

// took says a duration with two or three digits: 90 µs, 2.1 ms, 164 ms, 30 s;
// nothing where there is none.
export function took(d) {
  const t = ms(d);
  if (!t) return "";
  const say = (n, unit) => (n >= 10 ? Math.round(n) : Number(n.toPrecision(2))) + " " + unit;
  if (t < 1) return say(t * 1000, "µs");
  if (t < 1000) return say(t, "ms");
  return t < 120000 ? say(t / 1000, "s") : span(t);
}

export function count(n, one, many = one + "s") {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

export function percent(x) {
  return Math.round(100 * x) + " %";
}

// stance says what is done with a slice: announce, backup, drain, withdraw.
export function stance(st, rung) {
  if (st.action !== "announce" || !st.rung) return st.action;
  return "announce, " + (rung || "rung " + st.rung);
}

// reason says why, in the words of the CLI.
export function reason(r) {
  if (!r || !r.code) return "";
  return r.code + (r.guard ? ` (${r.guard})` : "") + (r.detail ? ": " + r.detail : "");
}

export const verdictKind = { up: "good", degraded: "warn", down: "bad", unknown: "off" };

export const severity = { bad: 3, warn: 2, notice: 1, off: 0, good: 0 };

export function worst(kinds) {
  return kinds.reduce((a, b) => (severity[b] > severity[a] ? b : a), "good");
}

// sliceKind is how much a slice of this POP needs a look.
export function sliceKind(sl) {
  if (sl.note || sl.reason.code === "guarded") return "bad";
  if (["operator", "maintenance", "stopping"].includes(sl.reason.code)) return "notice";
  if (["hold-down", "damped", "starting"].includes(sl.reason.code)) return "warn";
  if (sl.stance.action !== "announce") return sl.stance.action === "drain" ? "notice" : "bad";
  return sl.stance.rung || sl.wanted ? "warn" : "good";
}

// peerKind is the same for a slice of another POP.
export function peerKind(sl, peer) {
  if (!sl || peer.stale) return "off";
  if (/^(operator|maintenance|stopping)/.test(sl.reason || "")) return "notice";
  if (sl.note || sl.leaving || sl.stance.action === "withdraw") return "warn";
  if (sl.stance.action === "drain") return "notice";
  return sl.stance.rung || sl.verdict === "down" ? "warn" : "good";
}
