// What is wrong and belongs together: since when, the likeliest cause with its evidence, what the brain did, what you may do.

import { h, replace, say } from "../dom.js";
import { dateAndClock, number, percent, perSecond, seconds } from "../words.js";

export const title = "Incidents";

const EVERY_MS = 3000;
const RATES = new Set(["TrafficDrop", "TrafficSurge", "SaturationAhead", "ServiceShort"]);
const SHARES = new Set(["EndpointFailing", "ZoneFailing", "NodeFailing", "EdgeFailing", "ServiceFailing"]);

export function mount(root, context) {
  const wanted = context.route().name;
  const none = h("p", { class: "quiet" });
  const list = h("div");
  const back = wanted && h("p", {}, h("a", { href: context.href("incidents"), class: "back" }, "All incidents"));
  replace(root, h("h1", {}, wanted ? `Incident ${wanted}` : title), back, none, list);
  let asked = 0;
  let drawn = "";

  function draw(records, now, trouble) {
    const chosen = wanted ? records.filter((r) => r.id === wanted) : records;
    const text = JSON.stringify([chosen, trouble]);
    if (text === drawn) return;
    drawn = text;
    say(none, trouble || (chosen.length ? "" : wanted ? "No incident of that name is known." : "Nothing is wrong, and nothing was lately."));
    const open = list.querySelectorAll("details[open]");
    const kept = new Set([...open].map((d) => d.dataset.id));
    replace(list, chosen.map((r) => incident(r, context, wanted === r.id || kept.has(r.id))));
  }

  return {
    async update(state) {
      if (!state) return say(none, "Nothing has been decided yet.");
      if (context.route().at !== null) {
        // Of a moment in the past there is what the decision of then says: no timeline, which is of now.
        return draw(state.incidents.map((i) => ({ ...i, since: i.since_s, ended: null, timeline: [] })), state.at, "");
      }
      if (Date.now() - asked < EVERY_MS) return;
      asked = Date.now();
      try {
        const { incidents } = await context.get("/incidents");
        draw(incidents.slice().reverse(), state.at, "");
      } catch (error) {
        draw([], state.at, error.message);
      }
    },
    unmount() {},
  };
}

function incident(r, context, open) {
  const over = r.ended !== null;
  const service = r.labels.service;
  const facts = [
    ["since", dateAndClock(r.since) + (over ? `, over after ${seconds(r.ended - r.since)}` : "")],
    ["touches", `${percent(r.harm)} of the requests at worst`],
    ["likeliest causes", r.causes.join("; ")],
    ["done by the brain", r.done],
    ["what you may do", r.advice],
  ];
  return h(
    "section",
    { class: "card" },
    h(
      "h2",
      {},
      h("span", { class: "badge " + (over ? "" : r.severity === "critical" ? "bad" : "warn") }, over ? "over" : r.severity),
      " ",
      h("a", { href: context.href("incidents", r.id) }, r.id),
      " ",
      r.kind,
    ),
    h("p", {}, r.summary),
    h("dl", { class: "facts" }, facts.map(([name, words]) => [h("dt", {}, name), h("dd", {}, words)])),
    h(
      "p",
      {},
      service && h("a", { href: context.href("service", service, { at: over ? Math.floor(r.ended) : null }) }, `See ${service}`),
      " · ",
      h("a", { href: context.href("decisions", null, { at: Math.floor(r.since) + 1 }) }, "what was decided then"),
    ),
    h(
      "details",
      { "data-id": r.id, open },
      h("summary", {}, `Evidence (${r.evidence.length}) and timeline`),
      h(
        "div",
        { class: "wide" },
        h(
          "table",
          {},
          h("thead", {}, h("tr", {}, ["found", "where", "seen", "usual", "words"].map((w) => h("th", {}, w)))),
          h("tbody", {}, r.evidence.map(evidence)),
        ),
      ),
      r.timeline.length > 0 && h("ol", { class: "timeline" }, r.timeline.map((t) => h("li", {}, h("time", {}, dateAndClock(t.at)), " ", t.what))),
    ),
  );
}

function evidence(f) {
  const read = RATES.has(f.kind) ? perSecond : SHARES.has(f.kind) ? percent : f.kind.endsWith("Slow") ? seconds : number;
  const where = [f.service, f.endpoint, f.zone && `zone ${f.zone}`, f.caller && `asked by ${f.caller}`, f.node && `through ${f.node}`].filter(Boolean).join(", ");
  return h("tr", {}, [f.kind, where, read(f.value), `${read(f.low)} to ${read(f.high)}`, f.said].map((text) => h("td", {}, text)));
}
