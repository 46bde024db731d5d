// What this POP sees of the fleet's control core: a line beside the fleet.

import { h, mark, show } from "./dom.js";
import { age } from "./words.js";

export function core(st) {
  const parent = document.getElementById("core");
  const c = st.core;
  if (!c) return show(parent);
  const words = [];
  if (c.leader) words.push(`led by ${c.leader}`);
  if (c.members) words.push(`${c.members.length} member${c.members.length === 1 ? "" : "s"}`);
  if (c.revision) words.push(`revision ${c.revision}`);
  const f = c.config;
  if (f) words.push(`configuration ${f.number || "none"}` + (f.refused ? `, ${f.newest} ${f.restart ? "after a restart" : "refused"}` : ""));
  show(parent, h("p", { class: "empty", "data-key": "core" }, mark(c.reachable ? "good" : "bad"),
    c.reachable ? "The control core answers, for " : "The control core does not answer, and announcing goes on, for ", age(c.since),
    words.length ? ` (${words.join(", ")})` : ""));
}
