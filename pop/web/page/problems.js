// What needs a look, worst first, each with its reason: the answer to "is
// anything wrong, and why".

import { amount, failing, full } from "./load.js";
import { severity, worst, sliceKind, peerKind, reason, stance, count, percent } from "./words.js";

// problems lists { key, kind, title, lines, since, slice, at }. kind is bad,
// warn or notice; slice can be explained; at is where on the page more is.
export function problems(st) {
  const found = [
    ...whole(st),
    ...nowhere(st),
    ...overload(st),
    ...st.services.flatMap((svc) => remember(svc, () => service(svc, st)).map((p) => ({ ...p, lines: [...p.lines] }))),
    ...st.neighbors.flatMap(session),
    ...(st.fleet || []).flatMap((p) => remember(p, () => peer(p, st))),
  ];
  for (const a of st.alarms || []) {
    const known = a.slice && found.find((p) => p.slices?.includes(a.slice) && severity[p.kind] === severity.bad);
    if (known) known.lines.push(`alarm ${a.name}: ${a.detail}`);
    else found.push({ key: `alarm ${a.name} ${a.slice || a.service || ""}`, kind: "bad", title: `Alarm ${a.name}`, lines: [a.detail], since: a.since, slice: a.slice });
  }
  for (const p of found) p.lines = [...new Set(p.lines)];
  return found.sort((a, b) => severity[b.kind] - severity[a.kind]);
}

// What was said of an object of the status holds as long as the object: the
// feed puts a new one where something changed.
const said = new WeakMap();

function remember(object, say) {
  if (!said.has(object)) said.set(object, say());
  return said.get(object);
}

function whole(st) {
  const out = [];
  if (st.stopping) out.push({ key: "stopping", kind: "notice", title: `${st.pop} is stopping`, lines: ["it drains, withdraws and ends"] });
  if (st.dry_run) out.push({ key: "dry run", kind: "notice", title: "Dry run", lines: ["it decides and announces nothing"] });
  if (st.neighbors.length && !st.neighbors.some((n) => n.state === "established")) {
    out.push({ key: "no session", kind: "bad", title: `No router hears ${st.pop}`, lines: ["none of its BGP sessions is established"], at: "sessions" });
  }
  return out;
}

// overload finds what carries more than it can, and what is not measured.
function overload(st) {
  const over = (list) => (list || []).filter((l) => l.capacity && full(l) >= 1);
  const out = [];
  const pop = over(st.load?.pop);
  if (pop.length) out.push({ key: "load", kind: "bad", title: `${st.pop} is overloaded`, lines: pop.map((l) => `${l.unit}: ${amount(l)}`), at: "fleet" });
  for (const svc of st.services) {
    const list = over(svc.measured);
    if (list.length) out.push({ key: "load " + svc.id, kind: "warn", title: `${svc.id} is overloaded at ${st.pop}`, lines: list.map((l) => `${l.unit}: ${amount(l)}`), slice: svc.slices[0]?.slice });
  }
  for (const s of failing(st.load)) out.push({ key: "source " + s.name + s.of, kind: "warn", title: `Load ${s.name} is not measured`, lines: [`${s.of}: ${s.error}`], since: s.since, at: "fleet" });
  return out;
}

// nowhere finds slices that no POP announces, as far as is known.
function nowhere(st) {
  if (!st.fleet?.length) return [];
  const elsewhere = new Set();
  for (const p of st.fleet) {
    for (const sl of p.slices || []) if (sl.stance.action !== "withdraw" && !sl.note && !p.stale) elsewhere.add(sl.slice);
  }
  const lost = st.services.flatMap((svc) => svc.slices).filter((sl) => (sl.stance.action === "withdraw" || sl.note) && !elsewhere.has(sl.slice));
  if (!lost.length) return [];
  return [{
    key: "nowhere", kind: "bad", title: `${count(lost.length, "slice")} announced by no POP that is heard`, lines: [some(lost.map((sl) => sl.slice), 6)],
    slice: lost[0].slice, at: "services",
  }];
}

// service makes one entry of a service here: its health, and what became of
// its slices, those with the same fate together.
function service(svc, st) {
  const fates = new Map();
  for (const sl of svc.slices) {
    const kind = sliceKind(sl);
    if (kind === "good") continue;
    const fate = fateOf(sl);
    if (!fates.has(fate)) fates.set(fate, []);
    fates.get(fate).push({ kind, sl });
  }
  const health = healthLines(svc);
  const odd = [...fates.values()].flat();
  const kind = worst([...odd.map((o) => o.kind), health.kind]);
  if (kind === "good" || kind === "off") return [];
  const lines = [...fates].map(([fate, list]) => (list.length === svc.slices.length && list.length > 1 ? "" : some(list.map((o) => o.sl.slice), 4) + " ") + fate);
  const worstSlice = odd.sort((a, b) => severity[b.kind] - severity[a.kind])[0]?.sl;
  return [{
    key: "service " + svc.id, kind, title: title(svc, st, odd), lines: [...lines, ...health.lines], since: since(worstSlice) || svc.health.since,
    slice: worstSlice?.slice || svc.slices[0]?.slice, slices: svc.slices.map((sl) => sl.slice), service: svc.id,
  }];
}

// since is when a slice came into that state: what is held has been announced
// for longer than that.
function since(sl) {
  return (sl?.reason.code === "operator" && sl.intent?.at) || sl?.since;
}

function title(svc, st, odd) {
  const withdrawn = odd.filter((o) => o.sl.stance.action === "withdraw").length;
  const unheard = odd.some((o) => o.sl.note);
  const down = svc.health.verdict === "down" && !svc.always;
  if (withdrawn === svc.slices.filter((sl) => !sl.cover).length && withdrawn) return `${svc.id} is ${down ? "down and " : ""}withdrawn at ${st.pop}`;
  if (withdrawn) return `${svc.id} is partly withdrawn at ${st.pop}`;
  if (down) return `${svc.id} is down at ${st.pop}, and still announced`;
  if (unheard) return `${svc.id} is not heard by every router`;
  if (odd.some((o) => o.sl.stance.action === "drain")) return `${svc.id} drains at ${st.pop}`;
  if (svc.health.verdict === "degraded") return `${svc.id} is degraded at ${st.pop}: ${percent(svc.health.fraction)} of its capacity is up`;
  if (svc.health.verdict === "unknown" && !svc.always) return `${svc.id}: no verdict of its checks yet`;
  if (odd.some((o) => o.sl.reason.code === "operator")) return `${svc.id} is in an operator's hands at ${st.pop}`;
  return `${svc.id} at ${st.pop}`;
}

function fateOf(sl) {
  if (sl.note) return sl.note;
  let text = (sl.stance.action === "withdraw" ? "withdrawn" : stance(sl.stance, sl.rung)) + ", " + reason(sl.reason);
  if (sl.wanted_reason && sl.reason.code === "guarded") text += `; the rules want ${stance(sl.wanted)}: ${reason(sl.wanted_reason)}`;
  return text + (sl.next ? "; " + sl.next : "");
}

function healthLines(svc) {
  const lines = [];
  let kind = "good";
  if (svc.always) return { lines, kind };
  if (svc.health.verdict === "down") kind = "bad";
  if (svc.health.verdict === "degraded" || svc.health.verdict === "unknown") kind = "warn";
  if (svc.health.stalled) {
    kind = worst([kind, "warn"]);
    lines.push("the checks' runner shows no life");
  }
  const told = svc.slices.map((sl) => reason(sl.reason) + reason(sl.wanted_reason)).join(" ");
  for (const f of svc.health.failing || []) if (!told.includes(f.check + ":")) lines.push(`check ${f.check}: ${f.detail}`);
  for (const f of svc.health.shared || []) {
    kind = worst([kind, "warn"]);
    if (!told.includes(f.check + ":")) lines.push(`shared check ${f.check}: ${f.detail}`);
  }
  for (const c of svc.checks || []) {
    if (!c.hung) continue;
    kind = worst([kind, "warn"]);
    lines.push(`check ${c.id} hangs: ${count(c.hung, "run")} did not come back`);
  }
  return { lines, kind };
}

export function sessionKind(n) {
  if (n.admin_down) return "notice";
  if (n.state !== "established") return "bad";
  return n.bfd && n.bfd !== "up" ? "warn" : "good";
}

function session(n) {
  const kind = sessionKind(n);
  if (kind === "good") return [];
  const name = n.address + (n.description ? ` (${n.description})` : "");
  const lines = [n.admin_down ? "shut down by the operator" : n.state !== "established" ? `${n.state}${n.last_error ? ": " + n.last_error : ""}` : `BFD is ${n.bfd}`];
  return [{ key: "session " + n.address, kind, title: (n.state === "established" ? "BFD to " : "No session with ") + name, lines, since: n.since, at: "sessions" }];
}

// peer makes one entry of another POP that is not as it should be.
function peer(p, st) {
  if (p.stale) {
    return [{ key: "pop " + p.pop, kind: "warn", title: `${p.pop} is not heard`, lines: [p.error || "its routes are gone, and it does not answer"], since: p.heard, at: "fleet" }];
  }
  const service = new Map(st.services.flatMap((svc) => svc.slices.map((sl) => [sl.slice, svc.id])));
  const odd = (p.slices || []).map((sl) => ({ sl, kind: peerKind(sl, p) })).filter((o) => severity[o.kind]);
  const fates = new Map();
  for (const { sl } of odd) {
    const does = sl.stance.action === "withdraw" ? "withdrawn" : sl.leaving ? "wants to leave" : stance(sl.stance);
    const fate = does + (sl.note || sl.reason ? ": " + (sl.note || sl.reason) : sl.failing?.length ? ": " + some(sl.failing, 3) + " failing" : "");
    if (!fates.has(fate)) fates.set(fate, []);
    fates.get(fate).push(sl.slice);
  }
  if (!odd.length && !p.error) return [];
  if (!odd.length) return [{ key: "pop " + p.pop, kind: "warn", title: `${p.pop} does not answer`, lines: [p.error], at: "fleet" }];
  const names = [...new Set(odd.map((o) => service.get(o.sl.slice) || "others"))];
  return [{
    key: "pop " + p.pop, kind: worst(odd.map((o) => o.kind)), title: peerTitle(p.pop, odd, some(names, 3)),
    lines: [...fates].map(([fate, list]) => some(list, 2) + " " + fate), at: "fleet", slice: odd[0].sl.slice,
  }];
}

function peerTitle(pop, odd, names) {
  if (odd.every((o) => o.sl.stance.action === "withdraw")) return `${pop} has withdrawn ${names}`;
  if (odd.every((o) => o.sl.stance.action === "drain")) return `${pop} drains ${names}`;
  return `${pop}: ${names}`;
}

// some names the first few of a list.
export function some(list, n) {
  return list.slice(0, n).join(", ") + (list.length > n ? ` and ${list.length - n} more` : "");
}
