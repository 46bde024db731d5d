// What the daemon says, live: one event stream, and the status it adds up to.
// When the daemon does not answer, that is said at once, and asked again until
// it does.

import { clock } from "./words.js";

// The daemon says something every 5 s at least.
const silence = 11000;
const firstPause = 400;
const longestPause = 4000;
const kept = 1000; // journal entries

export class Feed {
  status = null;
  journal = []; // oldest first
  live = false;
  heard = 0; // when the daemon last said anything, by the browser's clock
  asked = 0; // when it was asked for the stream that is under way
  pause = firstPause;
  source = null;
  timer = 0;

  // changed is called with the kind of event, or "feed".
  constructor(changed) {
    this.changed = changed;
    setInterval(() => {
      if (this.source && Date.now() - Math.max(this.heard, this.asked) > silence) this.lost();
    }, 1000);
    addEventListener("online", () => this.soon());
    document.addEventListener("visibilitychange", () => this.soon());
  }

  start() {
    clearTimeout(this.timer);
    this.source?.close();
    const source = new EventSource("v1/watch");
    this.source = source;
    this.asked = Date.now();
    for (const kind of ["status", "service", "neighbor", "pop", "journal"]) {
      source.addEventListener(kind, (e) => {
        if (this.source === source) this.take(kind, JSON.parse(e.data));
      });
    }
    source.onerror = () => {
      if (this.source === source) this.lost();
    };
  }

  // soon asks again now, if it is waiting to.
  soon() {
    if (!this.live && !this.source && !document.hidden) this.start();
  }

  lost() {
    this.source?.close();
    this.source = null;
    this.live = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.start(), this.pause);
    this.pause = Math.min(longestPause, this.pause * 1.6);
    this.changed("feed");
  }

  take(kind, event) {
    this.heard = Date.now();
    this.pause = firstPause;
    if (kind === "journal") this.note([event.journal]);
    else this.apply(kind, event);
    if (!this.live) {
      this.live = true;
      this.history();
      this.changed("feed");
    }
    this.changed(kind);
  }

  apply(kind, event) {
    const st = event.status;
    if (st) clock.set(st.now);
    if (kind === "status") {
      this.status = st;
      st.services ||= [];
      st.neighbors ||= [];
    } else if (!this.status) {
      return;
    } else if (kind === "pop") {
      const { services, neighbors } = this.status;
      this.status = { ...st, services, neighbors };
    } else if (kind === "service") {
      replace(this.status.services, event.service, (o) => o.id);
    } else if (kind === "neighbor") {
      replace(this.status.neighbors, event.neighbor, (o) => o.address);
    }
  }

  // history asks for what was written before the stream began, or while it
  // was away.
  async history() {
    try {
      const answer = await fetch("v1/journal?limit=300");
      if (!answer.ok) return;
      const lines = (await answer.text()).split("\n").filter(Boolean);
      this.note(lines.map((l) => JSON.parse(l)));
      this.changed("journal");
    } catch {
      // the stream says when the daemon is gone
    }
  }

  note(entries) {
    const known = new Set(this.journal.map((e) => e.seq));
    const fresh = entries.filter((e) => !known.has(e.seq));
    if (!fresh.length) return;
    this.journal = [...this.journal, ...fresh].sort((a, b) => a.seq - b.seq).slice(-kept);
  }
}

function replace(list, item, key) {
  const i = list.findIndex((o) => key(o) === key(item));
  if (i >= 0) list[i] = item;
}

// call asks the API and returns its answer; an error says what the API says.
export async function call(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: body ? { "Content-Type": "application/json" } : undefined,
    body: body ? JSON.stringify(body) : undefined,
  });
  const text = await answer.text();
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    value = { message: text.trim() };
  }
  if (answer.ok) return value;
  const error = new Error((value.guard ? `refused by guard ${value.guard}: ` : "") + (value.message || answer.statusText));
  error.status = answer.status;
  throw error;
}
