// One service: its two arms side by side, what that gains, its endpoints, and how all of it came about over time.

import { h, replace, Rows, say } from "../dom.js";
import { chart, near } from "../charts.js";
import { number, percent, perSecond, seconds, within, UNKNOWN } from "../words.js";
import { Course, ofService } from "../course.js";
import { failed } from "./mesh.js";

export const title = "Service";

const MARK = { good: "●", bad: "▲", unknown: "○" };

// name, words, how to read a row of the columns, and by what to sort.
const COLUMNS = [
  ["address", "endpoint", (e, i) => e.address[i]],
  ["zone", "zone", (e, i) => e.zone[i] || UNKNOWN],
  ["weight", "weight", (e, i) => `${e.weight[i]}`],
  ["share", "share", (e, i) => percent(e.share[i])],
  ["rate_per_s", "requests", (e, i) => perSecond(e.rate_per_s[i])],
  ["p50_s", "p50", (e, i) => seconds(e.p50_s[i])],
  ["p99_s", "p99", (e, i) => seconds(e.p99_s[i])],
  ["quantiles", "p99 foretold", (e, i) => band(e.quantiles[i])],
  ["error_share", "failed", (e, i) => percent(e.error_share[i])],
  ["in_flight", "in flight", (e, i) => number(e.in_flight[i])],
  ["capacity", "bears", (e, i) => `${perSecond(e.capacity[i])}`],
];
const TEXT = new Set(["address", "zone"]);

export function mount(root, context) {
  const name = context.route().name;
  const head = h("h1", {}, name || title);
  const facts = h("p", { class: "quiet" });
  const reason = h("p");
  const trouble = h("p", { class: "note bad", hidden: true });
  const arms = h("tbody");
  const gain = h("p");
  const limits = h("dl", { class: "facts" });
  const filter = h("input", { type: "search", placeholder: "Filter endpoints", "aria-label": "Filter endpoints", oninput: () => draw() });
  const body = h("tbody");
  const sorts = COLUMNS.map(([key, words]) =>
    h("th", { class: TEXT.has(key) ? null : "num" }, h("button", { type: "button", class: "plain", onclick: () => sortBy(key) }, words)),
  );
  const latency = h("div", { class: "chart" });
  const weights = h("div", { class: "chart" });
  const one = h("section", { class: "card", hidden: true });
  root.append(
    h("p", {}, h("a", { href: context.href("mesh"), class: "back" }, "Mesh")),
    head,
    facts,
    trouble,
    reason,
    h(
      "div",
      { class: "cards" },
      h(
        "section",
        { class: "card wide" },
        h("h2", {}, "What users felt"),
        h("table", {}, h("thead", {}, h("tr", {}, ["rules", "requests", "p50", "p99", "failed"].map((w, i) => h("th", { class: i ? "num" : null }, w)))), arms),
        gain,
      ),
      h("section", { class: "card" }, h("h2", {}, "Capacity and limits"), limits),
      h("section", { class: "card" }, h("h2", {}, "p99 by rules"), latency),
      h("section", { class: "card" }, h("h2", {}, "Requests"), weights),
    ),
    h("section", { class: "card wide" }, h("h2", {}, "Endpoints"), filter, h("table", { class: "endpoints" }, h("thead", {}, h("tr", {}, h("th", {}, ""), sorts, h("th", {}, "why"))), body)),
    one,
  );

  const mark = () => context.route().at;
  const latencyChart = chart(latency, {
    series: [
      { label: "static", colour: "--static", dash: [5, 4] },
      { label: "adaptive", colour: "--adaptive", width: 2 },
    ],
    read: seconds,
    mark,
  });
  const rateChart = chart(weights, {
    series: [
      { label: "static", colour: "--static", dash: [5, 4] },
      { label: "adaptive", colour: "--adaptive", width: 2 },
      { label: "bears", colour: "--quiet", dash: [2, 3] },
    ],
    read: perSecond,
    mark,
  });
  const course = new Course(context, { service: name }, ["static_p99_s", "adaptive_p99_s", "static_requests_per_s", "adaptive_requests_per_s", "capacity_per_s"]);
  const rows = new Rows(body, (address) => row(address, select), { inSight: true });
  let seen = null;
  let order = { key: "address", down: false };
  let picked = null;
  let moment = 0;

  function sortBy(key) {
    order = { key, down: order.key === key ? !order.down : !TEXT.has(key) };
    sorts.forEach((th, i) => th.setAttribute("aria-sort", COLUMNS[i][0] !== key ? "none" : order.down ? "descending" : "ascending"));
    draw();
  }

  function select(address) {
    context.turn({ endpoint: picked && picked.address === address ? null : address });
  }

  function draw() {
    if (!seen) return;
    const e = seen.endpoints;
    const wanted = filter.value.toLowerCase();
    const chosen = [];
    for (let i = 0; i < e.address.length; i++) if (!wanted || e.address[i].toLowerCase().includes(wanted)) chosen.push(i);
    const value = (i) => (order.key === "quantiles" ? (e.quantiles[i] ? e.quantiles[i].p99[1] : null) : e[order.key][i]);
    chosen.sort((a, b) => compare(value(a), value(b)) * (order.down ? -1 : 1) || a - b);
    const shownEndpoint = context.route().query.get("endpoint");
    rows.update(chosen.map((i) => ({ e, i, service: seen, picked: shownEndpoint })), ({ e: columns, i }) => columns.address[i]);
  }

  function drawOne() {
    const address = context.route().query.get("endpoint");
    if (picked && picked.address !== address) {
      picked.destroy();
      picked = null;
    }
    one.hidden = !address;
    if (address && !picked) picked = endpoint(one, context, name, address);
    if (picked && seen) picked.update(seen, moment);
  }

  return {
    update(state) {
      seen = state && state.services.find((s) => s.name === name);
      if (!seen) {
        say(facts, state ? "No service of that name is in the mesh file at that moment." : "Nothing has been decided yet.");
        replace(arms);
        return;
      }
      const s = seen;
      moment = state.at;
      const asked = s.commanded_share_percent !== s.share_percent ? ` (${number(s.commanded_share_percent)} % asked for)` : "";
      say(facts, `${s.mode}${s.state === s.mode ? "" : ", " + s.state} · ${number(s.share_percent)} % of its traffic on learned weights${asked} · ${s.endpoints.address.length} endpoints`);
      say(reason, s.reason);
      const incident = state.incidents.find((i) => i.id === s.incident);
      trouble.hidden = !incident;
      if (incident) replace(trouble, h("a", { href: context.href("incidents", incident.id) }, incident.id), " ", incident.summary);
      replace(arms, arm("static", s.static), arm("adaptive", s.adaptive));
      say(gain, told(s));
      replace(limits, capacities(s));
      course.add(state, (figure) => ofService(s, figure));
      const d = course.data;
      latencyChart.update([d.at, d["static_p99_s"], d["adaptive_p99_s"]]);
      const rates = [d["static_requests_per_s"], d["adaptive_requests_per_s"]];
      const all = rates.flat();
      rateChart.update([d.at, ...rates, d.capacity_per_s.map((c) => near(c, all))]);
      draw();
      drawOne();
    },
    unmount() {
      latencyChart.destroy();
      rateChart.destroy();
      if (picked) picked.destroy();
    },
  };
}

function arm(name, view) {
  return h(
    "tr",
    {},
    h("th", { class: name }, name === "static" ? "yours (static)" : "learned (adaptive)"),
    [perSecond(view.requests_per_s), seconds(view.p50_s), seconds(view.p99_s), percent(view.failed_share)].map((t) => h("td", { class: "num" }, t)),
  );
}

function told(s) {
  if (s.gain.value === null) return "Gain: not told yet; it takes requests under both rules.";
  const sure = s.gain.low > 0 ? "better, surely" : s.gain.high < 0 ? "worse, surely" : "not told apart yet";
  return `Gain: ${within(s.gain.value, s.gain.low, s.gain.high)} less of what users feel (95 % interval), ${sure}.`;
}

function capacities(s) {
  const facts = [
    ["bears", `${perSecond(s.capacity)} of which ${perSecond(s.requests_per_s)} is asked`],
    ["limit", s.limit === null ? "yours" : `${s.limit} open at once for ${seconds(s.latency_goal_s)}, ${s.limited ? "in force" : "not needed now"}`],
    ["refused", perSecond(s.refused_per_s)],
    ["shed", percent(s.shed_percent / 100)],
    ["retries that end well", percent(s.retries_answered)],
    ["failed", percent(failed(s))],
  ];
  return facts.map(([name, words]) => [h("dt", {}, name), h("dd", {}, words)]);
}

function band(quantiles) {
  if (!quantiles || !quantiles.p99) return UNKNOWN;
  const [low, value, high] = quantiles.p99;
  return `${seconds(value)} (${seconds(low)} to ${seconds(high)})`;
}

function compare(a, b) {
  if (typeof a === "string" || typeof b === "string") return String(a).localeCompare(String(b), "en", { numeric: true });
  return (a ?? -Infinity) - (b ?? -Infinity);
}

function row(address, select) {
  const mark = h("span");
  const button = h("button", { type: "button", class: "plain", onclick: () => select(address) }, address);
  const cells = COLUMNS.map(([key]) => h("td", { class: TEXT.has(key) ? null : "num" }));
  cells[0].append(button);
  const bar = h("div", { class: "bar" });
  cells[3].classList.add("barred");
  const text = h("span");
  cells[3].append(bar, text);
  const why = h("td", { class: "why" });
  const element = h("tr", {}, h("td", {}, mark), cells, why);
  return {
    element,
    update({ e, i, picked }) {
      mark.className = e.health[i];
      mark.title = e.health[i];
      say(mark, MARK[e.health[i]]);
      button.setAttribute("aria-pressed", picked === address);
      COLUMNS.forEach(([key, , words], c) => {
        if (c === 0) return;
        say(key === "share" ? text : cells[c], words(e, i));
      });
      bar.style.width = `${Math.min(100, 100 * (e.share[i] || 0))}%`;
      say(why, e.guard[i] ? `${e.reason[i]} [${e.guard[i]}]` : e.reason[i]);
    },
  };
}

// What is shown of the endpoint that is picked: its band against what was seen, weight over time, and why.
function endpoint(root, context, service, address) {
  const facts = h("dl", { class: "facts" });
  const latency = h("div", { class: "chart" });
  const share = h("div", { class: "chart" });
  replace(root, h("h2", {}, address), facts, h("div", { class: "cards" }, h("div", {}, h("h2", {}, "p99 seen, p50 seen"), latency), h("div", {}, h("h2", {}, "Share of the learned arm"), share)));
  const seen = chart(latency, {
    series: [
      { label: "p99", colour: "--adaptive", width: 2, band: [0, 1] },
      { label: "p50", colour: "--quiet" },
    ],
    read: seconds,
    mark: () => context.route().at,
  });
  const weight = chart(share, { series: [{ label: "share", colour: "--adaptive", width: 2 }], read: percent, mark: () => context.route().at });
  const course = new Course(context, { service, endpoint: address }, ["p50_s", "p99_s", "share"]);
  return {
    address,
    update(s, at) {
      const e = s.endpoints;
      const i = e.address.indexOf(address);
      if (i < 0) return replace(facts, h("dt", {}, "endpoint"), h("dd", {}, "no member at that moment"));
      const told = [
        ["weight", `${e.weight[i]} in force; yours ${e.static_weight[i]}; ${e.proposed[i]} would be without guard, step and gate`],
        ["guard", e.guard[i] || "none held it"],
        ["why", e.reason[i]],
        ["bears", `${perSecond(e.capacity[i])} (${perSecond(e.capacity_low[i])} to ${perSecond(e.capacity_high[i])})`],
        ["p99 foretold", band(e.quantiles[i])],
        ["tier", `${e.tier[i]}`],
        ["attempts behind it", number(e.samples[i])],
      ];
      replace(facts, told.map(([name, words]) => [h("dt", {}, name), h("dd", {}, words)]));
      course.add({ at }, (figure) => e[figure][i]);
      seen.update([course.data.at, course.data.p99_s, course.data.p50_s]);
      weight.update([course.data.at, course.data.share]);
    },
    destroy() {
      seen.destroy();
      weight.destroy();
    },
  };
}
