// Checks and BGP sessions as tables.

import { h, show, keep, mark, table, cell } from "./dom.js";
import { age, severity, took, verdictKind } from "./words.js";
import { sessionKind } from "./problems.js";

const most = 80;

let drawn = new Map(); // checks that are shown, by key

// checks lists those of the services that are shown, failing ones first.
export function checks(list) {
  const kind = (c) => (c.hung ? "warn" : verdictKind[c.verdict]);
  const all = list.flatMap((svc) => svc.checks || []).map((c) => ({ c, kind: kind(c) }));
  all.sort((a, b) => severity[b.kind] - severity[a.kind]);
  const columns = [{ title: "Check" }, { title: "Service" }, { title: "Verdict" }, { title: "For", class: "num" }, { title: "Took", class: "num" }, { title: "Last" }, { title: "Said" }];
  const key = (c) => c.service + " " + c.id;
  const rows = all.slice(0, most).map(({ c, kind }) => drawn.get(key(c)) === c ? keep("tr", key(c)) : h("tr", { role: "row", "data-key": key(c), class: kind },
    h("th", { scope: "row", role: "rowheader" }, c.id, c.shared ? h("span", { class: "muted" }, " shared") : null, c.maintenance ? h("span", { class: "muted" }, " maintenance") : null),
    cell("Service", null, c.service),
    cell("Verdict", null, h("span", { class: "state" }, mark(kind), c.verdict, c.in_doubt ? ", in doubt" : "")),
    cell("For", { class: "num" }, age(c.since, "–")),
    cell("Took", { class: "num" }, took(c.latency) || "–"),
    cell("Last", { class: "nowrap" }, c.outcome ? `${c.outcome} ×${c.streak.toLocaleString("en")}` : "not run yet", c.hung ? `, ${c.hung} hung` : ""),
    cell("Said", { class: "wide" }, h("span", { class: "said" }, c.detail || ""))));
  drawn = new Map(all.slice(0, most).map(({ c }) => [key(c), c]));
  show(document.getElementById("check-table"), table("Checks of the services shown", columns, h("tbody", { role: "rowgroup" }, rows)),
    all.length ? null : h("p", { class: "empty" }, "None of the services shown has a check."),
    all.length > most ? h("p", { class: "empty" }, `${all.length - most} more: filter the services to see them.`) : null);
}

export function sessions(list) {
  const columns = [{ title: "Neighbor" }, { title: "AS", class: "num" }, { title: "State" }, { title: "For", class: "num" }, { title: "Sent", class: "num" },
    { title: "Received", class: "num" }, { title: "BFD" }, { title: "Note" }];
  const rows = list.map((n) => h("tr", { role: "row", "data-key": n.address, class: sessionKind(n) },
    h("th", { scope: "row", role: "rowheader" }, h("span", { class: "mono" }, n.address), n.description ? h("span", { class: "muted" }, " ", n.description) : null),
    cell("AS", { class: "num" }, n.as),
    cell("State", null, h("span", { class: "state" }, mark(sessionKind(n)), n.admin_down ? "shut down" : n.state)),
    cell("For", { class: "num" }, age(n.since, "never up")),
    cell("Sent", { class: "num" }, n.advertised),
    cell("Received", { class: "num" }, n.received === n.accepted ? n.received : `${n.received} (${n.accepted} taken)`),
    cell("BFD", null, n.bfd || "–"),
    cell("Note", { class: "wide" }, h("span", { class: "said" }, [n.flaps ? `lost ${n.flaps === 1 ? "once" : n.flaps + " times"}` : "",
      n.state !== "established" || n.flaps ? n.last_error : "", n.graceful_restart ? "graceful restart" : ""].filter(Boolean).join("; ")))));
  show(document.getElementById("session-table"), table("BGP sessions", columns, h("tbody", { role: "rowgroup" }, rows)),
    list.length ? null : h("p", { class: "empty" }, "No neighbor is configured."));
}
