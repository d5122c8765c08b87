// A window of time, chosen on charts of a service: dragged over them, by two sliders for the keyboard, or written as
// text. The text is what counts: the other two write it, and show it when it is a moment that they can.

import { h, say } from "./dom.js";
import { chart } from "./charts.js";
import { Course, ofService } from "./course.js";
import { dateAndClock, perSecond, seconds } from "./words.js";

const WINDOW_S = 3600; // of the past that is drawn
const FIGURES = ["static_p99_s", "adaptive_p99_s", "static_requests_per_s", "adaptive_requests_per_s"];

export class Span {
  // `texts`: {from, to}, inputs of text.
  constructor(context, texts) {
    this.context = context;
    this.texts = texts;
    this.sliders = { from: slider("From", () => this.slid()), to: slider("To", () => this.slid()) };
    this.words = h("p", { class: "quiet", role: "status" });
    this.plots = [h("div", { class: "chart" }), h("div", { class: "chart" })];
    const all = h("button", { type: "button", onclick: () => this.choose(null, null) }, "The whole recording");
    this.element = h(
      "div",
      { class: "span", onmousedown: (event) => (this.held = event.target.closest(".u-over") !== null) },
      h("h3", {}, "p99 by rules"), this.plots[0],
      h("h3", {}, "Requests by rules"), this.plots[1],
      h("div", { class: "ends" }, h("label", {}, "From", this.sliders.from), h("label", {}, "To", this.sliders.to)),
      h("div", { class: "buttons" }, all, this.words),
    );
    for (const text of Object.values(texts)) text.addEventListener("input", () => this.show());
    this.held = false; // somebody drags: nothing may move under the hand
    this.released = () => (this.held = false);
    window.addEventListener("mouseup", this.released);
    this.charts = null;
    this.known = null; // {first, last} of what is drawn, in whole seconds, and `edges` as they are
  }

  // A state document came; `service` of it is the chosen one.
  update(state, service) {
    if (!this.course || this.course.about.service !== service.name) this.course = new Course(this.context, { service: service.name }, FIGURES, WINDOW_S);
    this.course.add(state, (figure) => ofService(service, figure));
    const { at, ...columns } = this.course.data;
    if (this.held || at.length < 2) return;
    this.charts ||= this.plots.map((root, i) => rules(root, i ? perSecond : seconds, (from, to) => this.choose(from, to)));
    this.charts.forEach((c, i) => c.update([at, ...FIGURES.slice(2 * i, 2 * i + 2).map((f) => columns[f])]));
    const edges = [at[0], at[at.length - 1]];
    this.known = { first: Math.floor(edges[0]), last: Math.ceil(edges[1]), edges };
    for (const s of Object.values(this.sliders)) Object.assign(s, { min: this.known.first, max: this.known.last, disabled: false });
    this.show();
  }

  // Both null: all of it.
  choose(from, to) {
    this.texts.from.value = from === null ? "" : written(from);
    this.texts.to.value = to === null ? "" : written(to);
    this.show();
  }

  slid() {
    const ends = [Number(this.sliders.from.value), Number(this.sliders.to.value)];
    const [from, to] = [Math.min(...ends), Math.max(...ends)];
    const whole = from <= this.known.first && to >= this.known.last;
    this.choose(whole ? null : from, whole ? null : to);
  }

  show() {
    if (!this.known) return;
    const { first, last, edges } = this.known;
    const [from, to] = [moment(this.texts.from.value, first), moment(this.texts.to.value, last)];
    const drawn = from !== null && to !== null && from < to;
    const whole = drawn && from <= first && to >= last;
    if (drawn) {
      if (document.activeElement !== this.sliders.from) this.sliders.from.value = from;
      if (document.activeElement !== this.sliders.to) this.sliders.to.value = to;
    }
    for (const c of this.charts) c.select(drawn && !whole ? Math.max(from, edges[0]) : null, Math.min(to, edges[1]));
    say(this.words, whole ? "All that was recorded." : drawn ? `${dateAndClock(from)}, for ${seconds(to - from)}` : "As written below.");
  }

  destroy() {
    window.removeEventListener("mouseup", this.released);
    for (const c of this.charts || []) c.destroy();
  }
}

function slider(name, slid) {
  return h("input", { type: "range", step: 1, disabled: true, "aria-label": name, oninput: slid });
}

function rules(root, read, pick) {
  const series = [
    { label: "static", colour: "--static", dash: [5, 4] },
    { label: "adaptive", colour: "--adaptive", width: 2 },
  ];
  return chart(root, { series, read, height: 170, pick });
}

const written = (at) => new Date(Math.round(at) * 1000).toISOString().replace(".000Z", "Z");

// Of what may be written, the one form that is drawn; null for another.
function moment(text, otherwise) {
  if (!text.trim()) return otherwise;
  const at = /^\d{4}-/.test(text.trim()) ? Date.parse(text.trim()) / 1000 : NaN;
  return Number.isFinite(at) ? at : null;
}
