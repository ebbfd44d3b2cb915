// The live page: shows what `events` reports, and says so when it reports nothing any more.

import { Timeline, clockTime, colorOf, duration } from "./timeline.js";

const SILENT_SECONDS = 12; // the server sends something every 5 s
const RETRY_SECONDS = 3;
const LATE_SECONDS = 0.5; // that a message may be under way

const still = matchMedia("(prefers-reduced-motion: reduce)");
const cards = new Map(); // by number of the election
let skew = 0; // seconds of the server's clock beyond ours
let heardAt = 0; // of performance.now()
let link = "connecting";

/** The server's time; that of its last message once it is not heard any more. */
function now() {
  const silent = link === "lost" ? (performance.now() - heardAt) / 1000 : 0;
  return Date.now() / 1000 + skew - silent;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Seconds of a lease, rounded down: with a tenth where that can be seen. */
function lease(seconds) {
  return seconds < 10 ? (Math.floor(seconds * 10) / 10).toFixed(1) : String(Math.floor(seconds));
}

class Card {
  constructor(data) {
    const template = document.getElementById("election");
    this.root = template.content.firstElementChild.cloneNode(true);
    const at = (name) => this.root.querySelector(name);
    this.parts = {
      key: at(".key"), store: at(".store"), storeText: at(".store-text"), title: at("h2"), who: at(".who"),
      does: at(".does"), roles: at(".roles"), sinceName: at(".since-name"), since: at(".since"),
      duration: at(".duration"), token: at(".token"), lease: at(".lease"), leaseName: at(".lease-name"),
      url: at(".url"), pair: at(".pair"), bar: at(".bar"), fill: at(".fill"), trouble: at(".trouble"), rows: at("tbody"),
    };
    this.parts.title.id = `election-${data.id}`;
    this.root.setAttribute("aria-labelledby", this.parts.title.id);
    at(".scroll").setAttribute("aria-label", `${data.key}: all terms seen`);
    this.timeline = new Timeline(at(".timeline"), at(".detail"), at(".ranges"), data.key, data.id);
    this.said = null;
  }

  update(data) {
    this.data = data;
    this.at = performance.now();
    const { parts } = this;
    setText(parts.key, data.key);
    setText(parts.token, data.token === null ? "–" : String(data.token));
    parts.store.dataset.state = data.store_answers ? "up" : data.store_error === null ? "waiting" : "down";
    setText(parts.url, data.store);
    this.#fillBar();
    this.#listTerms();
    this.tick();
  }

  /** Seconds since the data came. */
  get age() {
    return (performance.now() - this.at) / 1000;
  }

  tick() {
    const { data, parts } = this;
    const [mood, who, does] = this.headline();
    this.root.dataset.mood = mood;
    this.root.dataset.color = data.value === null ? "" : colorOf(data.value);
    setText(parts.who, who);
    setText(parts.does, does);
    setText(parts.roles, this.roles());
    const vacant = data.value === null;
    const since = vacant ? data.no_leader_since : data.since;
    setText(parts.sinceName, vacant ? "Without a leader since" : data.since_exact === false ? "Since before" : "Since");
    setText(parts.since, since === null ? "–" : clockTime(since));
    setText(parts.duration, since === null ? "" : duration(now() - since));
    this.#tellLease();
    this.#tellStore();
    this.timeline.draw(data, now());
    // The seconds without a leader are shown, and not announced.
    const headline = mood === "vacant" ? who : `${who} ${does}`;
    if (headline !== this.said) {
      if (this.said !== null) announce(`${data.key}: ${headline}`);
      this.said = headline;
    }
  }

  /** Whether the data say no more what is true now. */
  get blind() {
    const { data } = this;
    // A lease that has run out here without a word of the program: it may be paused.
    const lapsed = data.me && data.lease_left !== null && this.age > data.lease_left + LATE_SECONDS;
    return link === "lost" || lapsed;
  }

  headline() {
    const { blind, data } = this;
    if (!data.known) return ["waiting", "Waiting", "for the store"];
    if (data.value === null) {
      const seen = data.store_answers && !blind && !data.stopped;
      if (!seen) return ["vacant", "No leader", "when last seen"];
      return ["vacant", "No leader", data.no_leader_since === null ? "" : `for ${duration(now() - data.no_leader_since)}`];
    }
    if (data.me && !blind) {
      const suspended = data.candidates.some((one) => one.state === "suspended");
      return suspended ? ["suspended", data.value, "leads, but cannot renew"] : ["leading", data.value, "leads"];
    }
    const seen = data.store_answers && !blind && !data.stopped;
    return seen ? ["other", data.value, "leads"] : ["other", data.value, "led when last seen"];
  }

  roles() {
    const { candidates, stopped } = this.data;
    if (!candidates.length) return stopped ? "This program has stopped following" : "This program follows";
    const leads = this.blind ? "led" : "leads";
    const says = {
      leading: (name) => `This program ${leads} as ${name}`,
      suspended: (name) => `This program ${leads} as ${name}`,
      standby: (name) => `This program stands by as ${name}`,
    };
    const other = (name, state) => `The candidate of this program, ${name}, ${state === "stopped" ? "has stopped" : `is ${state}`}`;
    return candidates.map((one) => (says[one.state] ?? other)(one.value, one.state)).join(" · ");
  }

  #fillBar() {
    const { data, parts } = this;
    const shown = data.me && data.lease_left !== null && data.lease_full > 0;
    parts.bar.hidden = !shown;
    this.drain?.cancel();
    this.drain = null;
    if (!shown) return;
    parts.bar.setAttribute("aria-valuemax", data.lease_full.toFixed(1));
    parts.bar.setAttribute("aria-valuenow", data.lease_left.toFixed(1));
    parts.bar.setAttribute("aria-valuetext", `${lease(data.lease_left)} of ${lease(data.lease_full)} seconds`);
    const share = Math.min(1, data.lease_left / data.lease_full);
    if (still.matches) return;
    // It refills in a moment, then drains at the pace of the clock; the browser does that by itself.
    const before = Math.min(this.share?.() ?? share, share);
    const total = data.lease_left * 1000;
    const refill = Math.min(0.35, 250 / total);
    const keyframes = [
      { transform: `scaleX(${before})`, easing: "ease-out" },
      { transform: `scaleX(${share * (1 - refill)})`, offset: refill, easing: "linear" },
      { transform: "scaleX(0)" },
    ];
    this.drain = parts.fill.animate(keyframes, { duration: Math.max(1, total), fill: "forwards" });
    this.share = () => Math.max(0, (data.lease_left - this.age) / data.lease_full);
  }

  #tellLease() {
    const { data, parts } = this;
    const own = data.me && data.lease_left !== null;
    parts.pair.hidden = data.value === null;
    setText(parts.leaseName, own ? "Lease left" : "Confirmed by the store");
    if (own) {
      const left = Math.max(0, data.lease_left - this.age);
      setText(parts.lease, `${lease(left)} of ${lease(data.lease_full)} s`);
      if (still.matches) parts.fill.style.transform = `scaleX(${Math.min(1, left / data.lease_full)})`;
    } else {
      setText(parts.lease, data.age === null ? "" : `${duration(data.age + this.age)} ago`);
    }
  }

  #tellStore() {
    const { data, parts } = this;
    const outage = data.outages.at(-1);
    const down = data.store_error !== null;
    const time = down && outage?.ended === null ? ` for ${duration(now() - outage.began)}` : "";
    if (link === "lost") setText(parts.storeText, "not known now");
    else setText(parts.storeText, down ? `store down${time}` : data.store_answers ? "store up" : "store unknown");
    const mild = data.me;
    let text = "";
    if (down) text = `${data.store}: ${data.store_error}`;
    else if (data.stopped) text = "This program has stopped following the election: nothing here changes any more.";
    parts.trouble.hidden = !text;
    parts.trouble.classList.toggle("mild", mild);
    setText(parts.trouble, text);
  }

  #listTerms() {
    const rows = [...this.data.terms].reverse().map((term) => {
      const row = document.createElement("tr");
      const from = `${term.exact ? "" : "before "}${clockTime(term.began)}`;
      const lasted = term.ended === null ? "goes on" : duration(term.ended - term.began);
      const ended = term.ended === null ? "" : term.ending || "ended";
      for (const text of [String(term.token), term.value, from, lasted, ended]) {
        const cell = document.createElement("td");
        cell.textContent = text;
        row.append(cell);
      }
      return row;
    });
    this.parts.rows.replaceChildren(...rows);
  }
}

function announce(text) {
  document.getElementById("announcements").textContent = text;
}

function show(data) {
  let card = cards.get(data.id);
  if (!card) {
    card = new Card(data);
    cards.set(data.id, card);
    const after = [...cards.keys()].filter((id) => id > data.id).sort((a, b) => a - b)[0];
    const place = after === undefined ? null : cards.get(after).root;
    document.getElementById("elections").insertBefore(card.root, place);
  }
  card.update(data);
}

function tick() {
  const silent = heardAt ? (performance.now() - heardAt) / 1000 : 0;
  if (silent > SILENT_SECONDS) link = "lost";
  document.body.dataset.link = link;
  document.getElementById("link").dataset.link = link;
  const texts = { live: "live", connecting: "connecting", lost: `no news for ${duration(silent)}` };
  setText(document.getElementById("link-text"), texts[link]);
  for (const card of cards.values()) card.tick();
  const first = cards.values().next().value;
  if (first) {
    const more = cards.size > 1 ? ` (and ${cards.size - 1} more)` : "";
    document.title = `${first.said} · ${first.data.key}${more}`;
  }
}

function hear(event) {
  const data = JSON.parse(event.data);
  heardAt = performance.now();
  link = "live";
  skew = data.now - Date.now() / 1000;
  return data;
}

function connect() {
  const source = new EventSource("events");
  source.addEventListener("election", (event) => {
    show(hear(event));
    tick();
  });
  source.addEventListener("clock", (event) => {
    hear(event);
    tick();
  });
  source.addEventListener("error", () => {
    link = "lost";
    tick();
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_SECONDS * 1000);
  });
}

still.addEventListener("change", () => {
  for (const card of cards.values()) card.update(card.data);
});
connect();
setInterval(tick, 1000);
