// The fleet as a picture: POPs where they are, or in a ring where nobody says.
// A POP's ring tells how much of its slices it announces, its shape and words
// whether that is as it should be.

import { s, show } from "./dom.js";
import { severity, took } from "./words.js";
import { pops } from "./fleet.js";

const width = 640, height = 300, edge = 26;

let big = 1; // letters, on a phone
let land = null; // of land.json, once it is here
let background = { for: "", nodes: [] };

// loadLand fetches the outlines; the picture does without where it cannot.
export async function loadLand(then) {
  try {
    const answer = await fetch("land.json");
    if (answer.ok) land = await answer.json();
    then();
  } catch {
    // a graticule alone will do
  }
}

export function picture(st) {
  const all = pops(st);
  const placed = all.filter((p) => p.location);
  const view = placed.length ? projection(placed.map((p) => p.location)) : null;
  place(all, view);
  const most = Math.max(...all.map((p) => p.capacity));
  const small = all.length > 8; // many: smaller, and words only where there is something to say
  for (const p of all) p.r = (small ? 4 : 7) + (small ? 3.5 : 5) * Math.sqrt(p.capacity / most);
  apart(all);
  label(all, small);
  const here = all[0];
  const words = all.map((p) => `${p.name}: ${p.word}`).join("; ");
  show(document.getElementById("picture"), s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "The fleet as a picture. " + words },
    behind(view), all.slice(1).map((p) => link(here, p)), ...[node, caption].map((draw) => onTop(all).map(draw))));
}

// onTop puts what needs a look over what does not.
function onTop(all) {
  return all.toSorted((a, b) => severity[a.kind] - severity[b.kind]);
}

// projection maps degrees to the picture: the POPs with some of the world
// around them, north up, one scale for both axes in the middle.
function projection(places) {
  const lats = places.map((l) => l.latitude), lons = places.map((l) => l.longitude);
  const [south, north, west, east] = [Math.min(...lats), Math.max(...lats), Math.min(...lons), Math.max(...lons)];
  const lat0 = (south + north) / 2, lon0 = (west + east) / 2;
  const k = Math.max(0.35, Math.cos((lat0 * Math.PI) / 180));
  const scale = Math.min((width - 7 * edge) / Math.max(14, (east - west) * k), (height - 3.4 * edge) / Math.max(8, north - south));
  return {
    lat0, lon0, k, scale,
    x: (lon) => width / 2 + (lon - lon0) * k * scale,
    y: (lat) => height / 2 - (lat - lat0) * scale,
  };
}

function place(all, view) {
  const lost = all.filter((p) => !p.location);
  for (const p of all) {
    if (p.location) [p.x, p.y] = [view.x(p.location.longitude), view.y(p.location.latitude)];
  }
  lost.forEach((p, i) => {
    if (view) { // nobody knows where: in a row below
      [p.x, p.y] = [edge * 2 + ((i + 0.5) * (width - 4 * edge)) / lost.length, height - edge];
      return;
    }
    const turn = (2 * Math.PI * i) / lost.length - Math.PI;
    [p.x, p.y] = [width / 2 + Math.cos(turn) * (lost.length > 1 ? width * 0.3 : 0), height / 2 + Math.sin(turn) * (lost.length > 2 ? height * 0.32 : 0)];
  });
}

// apart moves POPs that would lie on one another.
function apart(all) {
  for (let round = 0; round < 30; round++) {
    for (const a of all) {
      for (const b of all) {
        if (a === b) continue;
        const dx = b.x - a.x, dy = b.y - a.y, far = Math.hypot(dx, dy) || 0.01, want = a.r + b.r + 7;
        if (far >= want) continue;
        const push = (want - far) / 2;
        const [ux, uy] = far > 0.1 ? [dx / far, dy / far] : [1, 0];
        a.x -= ux * push; a.y -= uy * push;
        b.x += ux * push; b.y += uy * push;
      }
    }
  }
  for (const p of all) {
    p.x = Math.min(width - edge, Math.max(edge, p.x));
    p.y = Math.min(height - edge, Math.max(edge, p.y));
  }
}

// label puts each name on the side where it is least in the way.
function label(all, small) {
  big = matchMedia("(max-width: 700px)").matches ? 1.5 : 1; // as in panels.css
  const taken = all.map((p) => [p.x - p.r - 3, p.y - p.r - 3, p.x + p.r + 3, p.y + p.r + 3]);
  const overlap = (a, b) => Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  for (const p of all) {
    p.text = [p.name, [p.of ? `${p.announced} of ${p.of}` : "", p.peer ? took(p.peer.rtt) : "here"].filter(Boolean).join(" · ")];
    if (p.kind !== "good") p.text[1] = p.word;
    else if (small) p.text[1] = "";
    const w = (Math.max(p.text[0].length * 8.4, p.text[1].length * 5.8) + 4) * big, tall = (p.text[1] ? 29 : 15) * big, gap = p.r + 6;
    const sides = [
      { anchor: "start", box: [p.x + gap, p.y - tall / 2] }, { anchor: "end", box: [p.x - gap - w, p.y - tall / 2] },
      { anchor: "middle", box: [p.x - w / 2, p.y + gap - 2] }, { anchor: "middle", box: [p.x - w / 2, p.y - gap - tall + 2] },
    ];
    for (const side of sides) {
      const [x, y] = side.box;
      side.rect = [x, y, x + w, y + tall];
      const inside = overlap(side.rect, [4, 4, width - 4, height - 4]);
      side.cost = Math.round(taken.reduce((sum, t) => sum + overlap(side.rect, t), 0) + 3 * (w * tall - inside));
    }
    const best = sides.reduce((a, b) => (b.cost < a.cost ? b : a));
    taken.push(best.rect);
    p.side = { anchor: best.anchor, x: best.anchor === "start" ? best.rect[0] : best.anchor === "end" ? best.rect[2] : p.x, y: best.rect[1] };
  }
}

function link(here, p) {
  const bend = 0.12, mx = (here.x + p.x) / 2, my = (here.y + p.y) / 2;
  const cx = mx + (p.y - here.y) * bend * (p.x > here.x ? 1 : -1), cy = my - Math.abs(p.x - here.x) * bend;
  return s("path", { class: "link" + (p.peer.stale ? " stale" : ""), d: `M${here.x.toFixed(1)} ${here.y.toFixed(1)}Q${cx.toFixed(1)} ${cy.toFixed(1)} ${p.x.toFixed(1)} ${p.y.toFixed(1)}` });
}

const shapes = {
  good: (r) => s("circle", { r }),
  off: (r) => s("circle", { r: r * 0.8, class: "hollow" }),
  notice: (r) => s("rect", { x: -r * 0.85, y: -r * 0.85, width: 1.7 * r, height: 1.7 * r, rx: 1 }),
  warn: (r) => s("path", { d: `M0 ${-r * 1.15}L${r * 1.15} 0L0 ${r * 1.15}L${-r * 1.15} 0Z` }),
  bad: (r) => s("path", { d: `M0 ${-r * 1.15}L${r * 1.15} ${r * 0.9}H${-r * 1.15}Z` }),
};

function node(p) {
  const round = 2 * Math.PI * p.r, part = p.of ? p.announced / p.of : 0;
  return s("g", { class: "pop " + p.kind, transform: `translate(${p.x.toFixed(1)} ${p.y.toFixed(1)})`, "data-key": p.name },
    s("circle", { class: "disc", r: p.r + 3 }),
    s("circle", { class: "track", r: p.r }),
    part ? s("circle", { class: "part", r: p.r, "stroke-dasharray": `${(round * part).toFixed(1)} ${round.toFixed(1)}`, transform: "rotate(-90)" }) : null,
    s("g", { class: "shape" }, shapes[p.kind](p.r * 0.45)));
}

function caption(p) {
  const at = { x: p.side.x.toFixed(1), "text-anchor": p.side.anchor };
  return s("g", { class: "caption " + p.kind },
    s("text", { ...at, y: (p.side.y + 12 * big).toFixed(1), class: "name" }, p.text[0]),
    s("text", { ...at, y: (p.side.y + 25 * big).toFixed(1), class: "words" }, p.text[1]));
}

// behind is what lies behind the POPs; it changes only with the projection.
function behind(view) {
  if (!view) return s("g", null, s("ellipse", { class: "grid", cx: width / 2, cy: height / 2, rx: width * 0.3, ry: height * 0.32 }));
  const key = [view.lat0, view.lon0, view.scale, Boolean(land)].join();
  if (background.for !== key) background = { for: key, d: outlines(view), grid: graticule(view) };
  return s("g", null, s("path", { class: "land", d: background.d }), s("path", { class: "grid", d: background.grid }));
}

function outlines(view) {
  let d = "";
  for (const ring of land || []) {
    d += outline(ring, view, 0);
    if (ring.some((v, i) => i % 2 === 0 && v > 1800)) d += outline(ring, view, -3600); // beyond the date line
  }
  return d;
}

function outline(ring, view, shift) {
  const points = [];
  let seen = false;
  for (let i = 0; i < ring.length; i += 2) {
    const x = view.x((ring[i] + shift) / 10), y = view.y(ring[i + 1] / 10);
    seen ||= x > -width && x < 2 * width && y > -height && y < 2 * height;
    points.push(x.toFixed(1) + " " + y.toFixed(1));
  }
  return seen ? "M" + points.join("L") + "Z" : "";
}

function graticule(view) {
  const step = [5, 10, 15, 30].find((n) => n * view.scale * view.k > 50) || 30;
  let d = "";
  for (let lon = -180; lon <= 180; lon += step) {
    const x = view.x(lon);
    if (x > 0 && x < width) d += `M${x.toFixed(1)} 0V${height}`;
  }
  for (let lat = -90 + step; lat < 90; lat += step) {
    const y = view.y(lat);
    if (y > 0 && y < height) d += `M0 ${y.toFixed(1)}H${width}`;
  }
  return d;
}
