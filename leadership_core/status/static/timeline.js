// Time line of an election: one lane, a bar for each term, and hatching for outages of the store.

const NAMESPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 34; // of the lane
const LEAST_WIDTH = 3; // of a bar
const LEAST_SECONDS = 30; // that the lane shows
const SHORTEST_RANGE = 300; // seconds; before that there is nothing to choose
const STEPS = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];
const COLORS = 8;

const colors = new Map();

/** A color for a leader: the same for the same value, another one for the next values. */
export function colorOf(value) {
  if (!colors.has(value)) colors.set(value, colors.size % COLORS);
  return colors.get(value);
}

export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [86400, 3600, 60].map((unit) => Math.floor(whole / unit));
  if (days) return `${days} d ${hours % 24} h`;
  if (hours) return `${hours} h ${minutes % 60} min`;
  if (minutes) return `${minutes} min ${whole % 60} s`;
  return `${whole} s`;
}

export function clockTime(seconds, { withSeconds = true } = {}) {
  const options = { hour: "2-digit", minute: "2-digit", hour12: false };
  if (withSeconds) options.second = "2-digit";
  return new Date(seconds * 1000).toLocaleTimeString([], options);
}

export function describe(term, now) {
  const from = term.exact ? `from ${clockTime(term.began)}` : `since before ${clockTime(term.began)}`;
  const lasted = `${term.exact ? "" : "at least "}${duration((term.ended ?? now) - term.began)}`;
  const ending = term.ended === null ? "goes on" : term.ending || "ended";
  return `Term ${term.token}: ${term.value}, ${from}, ${lasted}, ${ending}`;
}

function make(name, attributes = {}) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

export class Timeline {
  constructor(place, detail, ranges, label, id) {
    this.detail = detail;
    this.ranges = ranges;
    this.range = Infinity; // seconds
    this.hatching = `url(#hatch-${id})`;
    for (const input of ranges.querySelectorAll("input")) {
      input.name = `range-${id}`;
      input.addEventListener("change", () => {
        this.range = Number(input.value) || Infinity;
        this.draw(this.data, this.now);
      });
    }
    this.svg = make("svg", { role: "group", "aria-label": `${label}: time line of terms` });
    const definitions = make("defs");
    const pattern = make("pattern", {
      id: `hatch-${id}`, width: 8, height: 8, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)",
    });
    pattern.append(make("line", { class: "hatch", x1: 0, y1: 0, x2: 0, y2: 8 }));
    definitions.append(pattern);
    this.lane = make("rect", { class: "lane", x: 0, y: 0, height: HEIGHT, rx: 5, width: 0 });
    this.axis = make("g", { "aria-hidden": "true" });
    this.bars = make("g");
    this.outages = make("g", { "aria-hidden": "true" });
    this.svg.append(definitions, this.lane, this.axis, this.bars, this.outages);
    place.replaceChildren(this.svg);
    this.terms = new Map(); // by token: the bar of each
    this.chosen = null;
    this.svg.addEventListener("keydown", (event) => this.#move(event));
    new ResizeObserver(() => this.data && this.draw(this.data, this.now)).observe(place);
  }

  draw(data, now) {
    this.data = data;
    this.now = now;
    const width = this.svg.clientWidth;
    if (!width) return;
    const first = Math.min(data.watched_since ?? now, ...data.terms.map((term) => term.began));
    this.ranges.hidden = now - first <= SHORTEST_RANGE;
    const from = Math.min(now - LEAST_SECONDS, Math.max(first, now - this.range));
    const scale = width / (now - from);
    const x = (time) => Math.max(0, Math.min(width, (time - from) * scale));
    const watched = x(data.watched_since ?? now);
    this.lane.setAttribute("x", watched);
    this.lane.setAttribute("width", width - watched);
    this.#drawAxis(from, now, width, x);
    this.#drawTerms(data.terms, from, now, width, x);
    const outages = data.outages.filter((one) => (one.ended ?? now) >= from);
    this.outages.replaceChildren(...outages.map((one) => {
      const [left, right] = [x(one.began), x(one.ended ?? now)];
      const width_ = Math.max(LEAST_WIDTH, right - left);
      return make("rect", { class: "outage", fill: this.hatching, x: left, y: 0, height: HEIGHT, width: width_ });
    }));
    this.#tell();
  }

  #drawAxis(from, now, width, x) {
    const most = Math.max(2, Math.floor(width / 110));
    const step = STEPS.find((one) => (now - from) / one <= most) ?? Math.ceil((now - from) / most / 86400) * 86400;
    const zone = new Date(now * 1000).getTimezoneOffset() * 60;
    const parts = [];
    for (let time = Math.ceil((from - zone) / step) * step + zone; time <= now; time += step) {
      const at = x(time);
      if (at < 24 || at > width - 24) continue;
      const label = make("text", { x: at, y: HEIGHT + 22, "text-anchor": "middle" });
      label.textContent = step >= 86400
        ? new Date(time * 1000).toLocaleDateString()
        : clockTime(time, { withSeconds: step < 60 });
      parts.push(make("line", { class: "tick", x1: at, x2: at, y1: HEIGHT, y2: HEIGHT + 7 }), label);
    }
    this.axis.replaceChildren(...parts);
  }

  #drawTerms(terms, from, now, width, x) {
    const present = new Set(terms.map((term) => term.token));
    for (const [token, bar] of this.terms) {
      if (present.has(token)) continue;
      bar.group.remove();
      this.terms.delete(token);
      if (this.chosen === token) this.chosen = null;
    }
    for (const term of terms) {
      const bar = this.terms.get(term.token) ?? this.#addBar(term);
      const left = Math.min(x(term.began), width - LEAST_WIDTH);
      const wide = Math.max(LEAST_WIDTH, x(term.ended ?? now) - left);
      bar.shown = (term.ended ?? now) >= from;
      bar.group.classList.toggle("past", !bar.shown);
      bar.rect.setAttribute("x", left);
      bar.rect.setAttribute("width", wide);
      bar.text.setAttribute("x", left + 9);
      const room = Math.floor((wide - 18) / 7.2); // characters
      const label = term.value.length <= room ? term.value : room < 6 ? "" : `${term.value.slice(0, room - 1)}…`;
      if (bar.text.textContent !== label) bar.text.textContent = label;
      bar.term = term;
      const text = describe(term, now);
      bar.title.textContent = text;
      bar.group.setAttribute("aria-label", text);
    }
    const last = terms.at(-1)?.token;
    const stop = this.terms.get(this.chosen)?.shown ? this.chosen : last;
    for (const [token, bar] of this.terms) {
      bar.group.setAttribute("tabindex", token === stop ? 0 : -1);
      bar.group.classList.toggle("chosen", token === this.chosen);
    }
  }

  #addBar(term) {
    const group = make("g", { class: "term", role: "img", "data-color": colorOf(term.value) });
    const rect = make("rect", { y: 0, height: HEIGHT, rx: 5 });
    const text = make("text", { y: HEIGHT / 2 + 4 });
    const title = make("title");
    group.append(title, rect, text);
    const choose = () => this.#choose(term.token);
    const release = () => this.#choose(null);
    group.addEventListener("pointerenter", choose);
    group.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && release());
    group.addEventListener("click", choose);
    group.addEventListener("focus", choose);
    group.addEventListener("blur", release);
    this.bars.append(group);
    const bar = { group, rect, text, title, term };
    this.terms.set(term.token, bar);
    return bar;
  }

  #choose(token) {
    this.chosen = token;
    for (const [other, bar] of this.terms) bar.group.classList.toggle("chosen", other === token);
    this.#tell();
  }

  #tell() {
    const bar = this.terms.get(this.chosen);
    const terms = this.data.terms;
    let text = "No term was seen yet";
    if (bar) text = describe(bar.term, this.now);
    else if (terms.length === 1) text = `1 term since ${clockTime(terms[0].began)}`;
    else if (terms.length) text = `${terms.length} terms since ${clockTime(terms[0].began)}`;
    if (this.detail.textContent !== text) this.detail.textContent = text;
  }

  #move(event) {
    const tokens = [...this.terms.keys()].filter((token) => this.terms.get(token).shown);
    const at = tokens.findIndex((token) => this.terms.get(token).group === document.activeElement);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tokens.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const bar = this.terms.get(tokens[Math.max(0, Math.min(tokens.length - 1, to))]);
    bar.group.setAttribute("tabindex", 0);
    bar.group.focus();
  }
}
