// The moment that is shown: live, or one of the past, chosen by a slider over as long as anything is remembered.

import { h, say } from "./dom.js";
import { dateAndClock, seconds } from "./words.js";

const ASK_SPAN_MS = 10000;
const REST_MS = 150;

export class When {
  constructor(root, context) {
    this.context = context;
    this.span = null;
    this.askedAt = 0;
    this.slider = h("input", { type: "range", step: "1", "aria-label": "Moment shown", oninput: () => this.slid() });
    this.words = h("span", { class: "words" });
    this.trouble = h("span", { class: "bad" });
    this.back = h("button", { type: "button", onclick: () => context.turn({ at: null }, true) }, "Back to now");
    this.link = h("button", { type: "button", onclick: () => this.copy() }, "Copy link");
    root.append(this.slider, this.words, this.trouble, this.back, this.link);
    this.root = root;
  }

  update(at, live) {
    if (Date.now() - this.askedAt > ASK_SPAN_MS && live) this.askSpan();
    const end = live ? live.at : at;
    const first = this.span ? this.span.first : end;
    this.root.classList.toggle("past", at !== null);
    this.slider.disabled = !this.span;
    if (first !== null && document.activeElement !== this.slider) {
      this.slider.min = Math.floor(first);
      this.slider.max = Math.ceil(end);
      this.slider.value = at === null ? this.slider.max : at;
    }
    this.back.hidden = at === null;
    this.link.hidden = at === null;
    if (at !== null) say(this.words, `${dateAndClock(at)}${live ? `, ${seconds(live.at - at)} ago` : ""}`);
    else say(this.words, this.span ? `now; ${seconds(end - first)} can be looked back at` : "now");
  }

  said(trouble) {
    say(this.trouble, trouble);
  }

  // The words follow the hand; the past is asked for when it rests.
  slid() {
    const at = Number(this.slider.value);
    say(this.words, dateAndClock(at));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.context.turn({ at: at >= Number(this.slider.max) ? null : at }), REST_MS);
  }

  async copy() {
    await navigator.clipboard.writeText(location.href);
    say(this.link, "Copied");
    setTimeout(() => say(this.link, "Copy link"), 2000);
  }

  async askSpan() {
    this.askedAt = Date.now();
    try {
      this.span = await this.context.get("api/span");
    } catch {
      this.span = null; // nothing is remembered: the slider rests
    }
  }
}
