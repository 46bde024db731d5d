// Making elements, and bringing what is shown up to date with the least change:
// what did not change keeps its focus, its selection and its place.

const svgNames = "http://www.w3.org/2000/svg";

// h makes an HTML element. Attributes that are false, null or undefined are
// left out; children may be nested lists, strings, numbers, elements or nothing.
export function h(tag, attrs, ...children) {
  return build(document.createElement(tag), attrs, children);
}

// s makes an SVG element.
export function s(tag, attrs, ...children) {
  return build(document.createElementNS(svgNames, tag), attrs, children);
}

function build(node, attrs, children) {
  for (const [name, value] of Object.entries(attrs || {})) {
    if (value === false || value === null || value === undefined) continue;
    node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    node.append(child);
  }
  return node;
}

// show makes the children of parent what is given, changing only what differs.
// Children with data-key are matched by it, others by their place.
export function show(parent, ...children) {
  const wanted = document.createElement("div");
  build(wanted, null, children);
  patchChildren(parent, [...wanted.childNodes]);
}

// keep stands for the child of that key that is shown, as it is: for what is
// known not to have changed.
export function keep(tag, key) {
  return h(tag, { "data-key": key, "data-keep": true });
}

function patch(old, now) {
  if (now.dataset?.keep !== undefined) return;
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== now.data) old.data = now.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!now.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of now.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  patchChildren(old, [...now.childNodes]);
}

function patchChildren(parent, wanted) {
  const keyed = new Map();
  for (const child of parent.children) {
    if (child.dataset.key) keyed.set(child.dataset.key, child);
  }
  let at = parent.firstChild;
  for (const now of wanted) {
    const key = now.dataset?.key;
    let old = key ? keyed.get(key) : at;
    if (key) keyed.delete(key);
    if (!old || !alike(old, now) || (!key && old.dataset?.key)) {
      parent.insertBefore(now, at);
      continue;
    }
    if (old === at) at = at.nextSibling;
    else parent.insertBefore(old, at);
    patch(old, now);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function alike(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName;
}

// mark is the shape that goes with a word: circle good, square notice,
// diamond warn, triangle bad, ring off.
export function mark(kind) {
  return h("i", { class: "mark " + kind, "aria-hidden": "true" });
}

// gauge is a bar that tells a share: words say it too.
export function gauge(share, words) {
  const width = Math.max(0, Math.min(1, share)) * 100;
  return s("svg", { class: "gauge", viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": words },
    s("rect", { width: 100, height: 10, class: "track" }), s("rect", { width: width.toFixed(1), height: 10 }));
}

// table makes a table that keeps its meaning when a phone shows it as cards.
export function table(caption, columns, bodies) {
  const heads = columns.map((c) => h("th", { scope: "col", role: "columnheader", class: c.class }, c.title));
  return h("table", { role: "table", "data-key": "table" },
    h("caption", { class: "hidden" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
    bodies);
}

// cell is a data cell; label is its column's title, which a phone shows.
export function cell(label, attrs, ...children) {
  return h("td", { role: "cell", "data-label": label, ...attrs }, children);
}
