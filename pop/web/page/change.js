// What an operator may change from the page, where that is allowed. The guards
// judge it as they judge the CLI.

import { h } from "./dom.js";
import { call } from "./feed.js";

const verbs = [
  ["drain", "Drain: de-prefer, wait for the traffic to go, withdraw"], ["undrain", "Undrain: end the drain"],
  ["hold", "Hold: freeze what is announced"], ["release", "Release: end holds and pins"],
];

let said = ""; // what came of the last change

export function forget() {
  said = "";
}

export function changeForm(e) {
  return h("section", { "data-key": "change" },
    h("h3", null, "Change it"),
    h("form", { id: "change-form", class: "stack", "data-slice": e.slice.slice, "data-service": e.slice.service },
      h("label", null, "What", h("select", { name: "verb" }, verbs.map(([v, words]) => h("option", { value: v }, words)))),
      h("label", null, "Of", h("select", { name: "scope" }, h("option", { value: "slice" }, `only ${e.slice.slice}`), h("option", { value: "service" }, `all of ${e.slice.service}`))),
      h("label", null, "Why", h("input", { name: "why", maxlength: 300, required: true, placeholder: "for those who read the journal", autocomplete: "off" })),
      h("button", { type: "submit" }, "Do it at ", e.pop)),
    h("p", { id: "change-said", role: "status" }, said));
}

// submitChange carries out the form and says what came of it.
export async function submitChange(form) {
  const say = (text) => {
    said = text;
    const p = document.getElementById("change-said");
    if (p) p.textContent = text;
  };
  const slice = form.elements.scope.value === "slice";
  say("Asking…");
  try {
    const result = await call("POST", "v1/" + form.elements.verb.value, {
      ...(slice ? { slice: form.dataset.slice } : { service: form.dataset.service }), why: form.elements.why.value,
    });
    say(result.text);
  } catch (e) {
    say(e.message);
  }
}

// endIntent ends an intent of the list, if that is meant.
export async function endIntent({ kind, slice, service }) {
  if (!confirm(`End the ${kind} of ${slice || service || "everything"} now?`)) return;
  const body = { ...(slice ? { slice } : {}), ...(service ? { service } : {}), why: "ended on the page" };
  try {
    await call("POST", kind === "drain" ? "v1/undrain" : "v1/release", body);
  } catch (e) {
    alert(e.message);
  }
}
