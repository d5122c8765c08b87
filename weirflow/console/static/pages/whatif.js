// What would have been: choose a window of the recording, change something, and see the answer with how far to trust it.

import { h, replace, say } from "../dom.js";
import { Span } from "../span.js";
import { number, percent, seconds } from "../words.js";

export const title = "What if";

const POLICIES = ["weirflow", "least_request", "full_scan", "round_robin", "random", "peak_ewma", "prequal"];
const FIGURES = [
  ["p50_s", "p50", seconds],
  ["p99_s", "p99", seconds],
  ["mean_s", "mean", seconds],
  ["failed", "failed", percent],
  ["refused", "refused", percent],
];

export function mount(root, context) {
  const service = h("select", { id: "w-service" });
  const policies = POLICIES.map((p) => h("label", { class: "check" }, h("input", { type: "checkbox", value: p, checked: p === "weirflow" }), " ", p));
  const field = (id, words, holder) => [h("label", { for: "w-" + id }, words), h("input", { id: "w-" + id, placeholder: holder, autocomplete: "off" })];
  const [from, to] = [field("from", "From", "start of the recording"), field("to", "To", "its end")];
  const span = new Span(context, { from: from[1], to: to[1] });
  const go = h("button", { type: "submit", class: "main" }, "Ask");
  const stop = h("button", { type: "button", hidden: true, onclick: () => controller && controller.abort() }, "Stop");
  const said = h("p", { role: "status" });
  const answer = h("div");
  const form = h(
    "form",
    { class: "card form", onsubmit: (e) => { e.preventDefault(); ask(); } },
    h("label", { for: "w-service" }, "Service"), service,
    h("span", {}, "Who picks"), h("div", { class: "checks" }, policies),
    field("load", "Load", "x1.5"),
    field("remove", "Take endpoints out", "10.0.0.1:80 10.0.0.2:80"),
    field("add", "Add endpoints", "3@0.5"),
    field("slow", "Slow one down", "10.0.0.1:80=x5@10..40"),
    field("limit", "Limits", "max_requests=64"),
    field("share", "Share of the learned arm, %", "95"),
    h("span", {}, "When"), span.element,
    from,
    to,
    h("span"), h("div", { class: "buttons" }, go, stop),
  );
  root.append(
    h("h1", {}, title),
    h("p", { class: "quiet" }, "Asked of the recording that this brain writes, by a simulated mesh calibrated on it, in a process of its own. First what was in force is simulated and held against what was recorded: where the two differ, the answer says so or is refused."),
    form, said, answer,
  );
  let controller = null;
  let known = "";

  async function ask() {
    const value = (id) => document.getElementById("w-" + id).value.trim();
    const words = (id) => value(id).split(/[\s,]+/).filter(Boolean);
    const body = {
      service: service.value,
      policy: policies.map((p) => p.querySelector("input")).filter((i) => i.checked).map((i) => i.value),
      remove: words("remove"), add: words("add"), slow: words("slow"), limit: words("limit"),
    };
    for (const id of ["load", "share", "from", "to"]) if (value(id)) body[id] = value(id);
    controller = new AbortController();
    go.disabled = true;
    stop.hidden = false;
    said.className = "quiet";
    const began = Date.now();
    const timer = setInterval(() => say(said, `Simulating, ${Math.round((Date.now() - began) / 1000)} s …`), 500);
    try {
      const told = await context.post("api/whatif", body, controller.signal);
      replace(answer, report(told));
      say(said, `Answered in ${seconds((Date.now() - began) / 1000)}.`);
    } catch (error) {
      said.className = "note bad";
      say(said, error.name === "AbortError" ? "Stopped." : error.message + (error.mend ? ". " + error.mend : ""));
    } finally {
      clearInterval(timer);
      go.disabled = false;
      stop.hidden = true;
    }
  }

  return {
    update(state) {
      const names = state ? state.services.map((s) => s.name) : [];
      if (JSON.stringify(names) !== known) {
        known = JSON.stringify(names);
        const before = service.value;
        replace(service, names.map((n) => h("option", { value: n }, n)));
        if (names.includes(before)) service.value = before;
      }
      const chosen = state && state.services.find((s) => s.name === service.value);
      if (chosen) span.update(state, chosen);
    },
    unmount() {
      span.destroy();
      if (controller) controller.abort();
    },
  };
}

function report(told) {
  return [
    h(
      "section",
      { class: "card" },
      h("h2", {}, told.concluded ? "Concluded" : "Not concluded"),
      check(told.check),
      doubts(told.doubts),
      told.assumed.length > 0 && h("details", {}, h("summary", {}, `Assumed (${told.assumed.length})`), h("ul", {}, told.assumed.map((a) => h("li", {}, a)))),
    ),
    told.answers.map((a) =>
      h("section", { class: "card wide" }, h("h2", {}, a.question), h("p", {}, a.why), doubts(a.doubts), a.simulation && table(a.simulation)),
    ),
  ];
}

function check(c) {
  const seen = FIGURES.filter(([k]) => c.recorded[k] !== undefined && c.simulated[k]).map(
    ([k, name, read]) => `${name} ${read(c.recorded[k])} recorded, ${read(c.simulated[k].value)} simulated`,
  );
  return h(
    "p",
    {},
    `The check: ${c.policy}, as it was in force, simulated against ${number(c.requests)} recorded requests: ${seen.join("; ")}. `,
    h("strong", { class: c.passed ? "good" : "bad" }, c.passed ? "Near enough." : "Too far off."),
  );
}

const doubts = (all) => all.length > 0 && h("ul", {}, all.map((d) => h("li", { class: "warn" }, d.why, d.mend && ` – ${d.mend}`)));

function table(rows) {
  const heads = ["who picks", ...FIGURES.map(([, name]) => name), "p99 against recorded"];
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, heads.map((w, i) => h("th", { class: i ? "num" : null }, w)))),
    h(
      "tbody",
      {},
      rows.map((r) =>
        h(
          "tr",
          {},
          h("td", { title: r.meaning }, r.policy),
          FIGURES.map(([k, , read]) => h("td", { class: "num" }, interval(r[k], read))),
          h("td", { class: "num" }, r.against && r.against.p99_s ? interval(r.against.p99_s, percent) : "–"),
        ),
      ),
    ),
  );
}

function interval(figure, read) {
  if (!figure || figure.value === null) return "–";
  return figure.low === null ? read(figure.value) : `${read(figure.value)} (${read(figure.low)} to ${read(figure.high)})`;
}
