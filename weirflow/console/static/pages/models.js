// The models of latency: who decides, how well each has foreseen what came, and how near the one that decides is to
// being taken back. An operator may let another decide; the proof watches it as ever.

import { h, replace, say } from "../dom.js";
import { number, percent, perSecond, seconds } from "../words.js";
import { told } from "./decisions.js";

export const title = "Models";

const EVERY_MS = 4000;
const ROLES = {
  champion: "decides now",
  challenger: "may take over when it is surely better",
  baseline: "has no memory to be wrong with; decides when the champion drifts",
  drifted: "was the champion, and foresees worse than it used to; learns anew",
  "comes back": "decided before, and comes back when the proof is against the champion",
  shadow: "is scored and decides nothing",
  idle: "learns nothing now",
};
const HEADS = ["model", "role", "age", "error", "within its 90 % band", "against the champion", "against the baseline", "samples", "drift", ""];

export function mount(root, context) {
  const said = h("p", { class: "note", hidden: true, role: "status" });
  const none = h("p", { class: "quiet" });
  const body = h("tbody");
  const noDemand = h("p", { class: "quiet" });
  const demand = h("table", {});
  const auto = h("button", { type: "button", onclick: () => promote(null) }, "Let the brain choose");
  root.append(
    h("h1", {}, title),
    said,
    h("p", { class: "quiet" }, "The error is how far off a model was in foreseeing latency, either way, before it learned from it. Ratios are of errors in the same moments, with their 95 % intervals: below 1 is better. The band is where nine of ten of a model's past errors lay, as times of what it foretold; near 90 % of what comes should lie within, and a narrow band is worth more."),
    none,
    h("section", { class: "card wide" }, h("table", {}, h("thead", {}, h("tr", {}, HEADS.map((w, i) => h("th", { class: i > 1 && i < 9 ? "num" : null }, w)))), body)),
    h("p", {}, auto),
    h("section", { class: "card wide" }, h("h2", {}, "Demand, as it was foretold"), noDemand, demand),
  );
  let asked = 0;
  let champion = "";

  async function ask() {
    asked = Date.now();
    try {
      const { models, demand: scores } = await context.get("/models");
      champion = (models.find((m) => m.role === "champion") || {}).name || "";
      say(none, context.route().at === null ? "" : "These are of now: how models stood is not in the past that is kept.");
      replace(body, models.map(row));
      say(noDemand, scores.length ? "Mean error of each forecast when its time had come, that as times of the last value's error (below 1 is better), and how much of what was asked lay within its 90 % interval." : "Nothing that was foretold has come due yet, or demand is not learned.");
      replace(demand, scores.length > 0 && foretold(scores));
    } catch (error) {
      say(none, error.message);
    }
  }

  function row(m) {
    const may = context.mayChange();
    const watched = m.watched_s ? `; watched for ${seconds(m.watched_s)} more` : "";
    const barred = m.barred_s ? `; may not come back by itself for ${seconds(m.barred_s)}` : "";
    const button = h(
      "button",
      { type: "button", disabled: !may || m.role === "champion", title: may ? null : "Read-only: see Settings.", onclick: () => promote(m.name) },
      "Let it decide",
    );
    return h(
      "tr",
      {},
      h("td", {}, m.name),
      h("td", { class: "why" }, h("strong", {}, m.role), ` ${ROLES[m.role] || ""}${watched}${barred}`),
      [seconds(m.age_s), m.error === null ? "–" : percent(Math.expm1(m.error)), held(m.held), ratio(m.against_champion), ratio(m.against_baseline), number(m.count)].map((t) => h("td", { class: "num" }, t)),
      h("td", { class: m.drift > 0.7 ? "num warn" : "num" }, percent(m.drift)),
      h("td", {}, button),
    );
  }

  async function promote(name) {
    const question = {
      title: name === null ? "Let the brain choose?" : `Let ${name} decide?`,
      words: "What was proven was proven of the model before: the evidence starts anew, and the proof may take this one back.",
      facts: [["decides", champion, name === null ? "whom the contest and the proof choose" : name]],
      action: name === null ? "Let it choose" : "Let it decide",
    };
    if ((await context.ask(question)) === null) return;
    said.hidden = false;
    said.className = "note";
    try {
      const done = await context.post("/promote", { model: name });
      say(said, `Done, as ${done.who}: ${done.what}. Before: ${told(done.before)}. After: ${told(done.after)}.`);
    } catch (error) {
      said.className = "note bad";
      say(said, `Not done: ${error.message}${error.mend ? ". " + error.mend : ""}`);
    }
    ask();
  }

  return {
    update() {
      auto.disabled = !context.mayChange();
      if (Date.now() - asked > EVERY_MS) ask();
    },
    unmount() {},
  };
}

// [share, low, high]
const held = (b) => (b ? `${percent(b[0])} (×${number(b[1])} to ×${number(b[2])})` : "–");

// A row a service, a column a horizon.
function foretold(scores) {
  const services = [...new Set(scores.map((s) => s.service))];
  const ahead = [...new Set(scores.map((s) => s.ahead_s))].sort((a, b) => a - b);
  const at = (service, a) => scores.find((s) => s.service === service && s.ahead_s === a);
  return [
    h("thead", {}, h("tr", {}, h("th", {}, "service"), ahead.map((a) => h("th", { class: "num" }, `in ${seconds(a)}`)))),
    h("tbody", {}, services.map((name) => h("tr", {}, h("td", {}, name), ahead.map((a) => h("td", { class: "num" }, score(at(name, a))))))),
  ];
}

const score = (s) => (s ? `±${perSecond(s.error_per_s)}, ×${number(s.against_last)}, ${percent(s.inside_90)}` : "–");

// [middle, low, high]
const ratio = (r) => (r ? `${number(r[0])} (${number(r[1])} to ${number(r[2])})` : "–");
