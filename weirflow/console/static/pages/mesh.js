// The mesh: who calls whom, how much, and who is not well; below it the same as a table, for the keyboard and for many.

import { h, replace, Rows, say, svg } from "../dom.js";
import { number, percent, perSecond, seconds, within } from "../words.js";
import { layout } from "../layout.js";

export const title = "Mesh";

const BOX = { width: 172, height: 62, gapX: 84, gapY: 18 };
const CLIENTS = ""; // the caller that stands for proxies beside no service
const MARK = { good: "●", bad: "▲", unknown: "○" };

export function mount(root, context) {
  const facts = h("p", { class: "quiet" });
  const drawing = h("div", { class: "wide graph", role: "group", "aria-label": "Who calls whom" });
  const body = h("tbody");
  const figures = ["service", "state", "requests", "static p50 / p99", "adaptive p50 / p99", "failed", "learned share", "gain", "incident"];
  root.append(
    h("h1", {}, title),
    facts,
    h("section", { class: "card" }, drawing),
    h(
      "section",
      { class: "card wide" },
      h("table", {}, h("thead", {}, h("tr", {}, figures.map((f, i) => h("th", { class: i > 1 && i < 8 ? "num" : null }, f)))), body),
    ),
  );
  const rows = new Rows(body, (name) => row(name, context));
  let graph = null;

  return {
    update(state) {
      if (!state) return say(facts, "Nothing has been decided yet; the first tick comes within a second.");
      const bad = state.services.filter((s) => s.health === "bad").length;
      const endpoints = state.services.reduce((sum, s) => sum + s.endpoints.address.length, 0);
      const plan = state.plan_version === null ? "no plan: nothing learned is leased" : `plan ${state.plan_version} is leased`;
      say(
        facts,
        `${state.services.length} services, ${endpoints} endpoints, ${state.nodes.length} proxies; ` +
          `${bad ? bad + " in trouble" : "none in trouble"}; ${plan}${state.frozen ? "; FROZEN by an operator" : ""}`,
      );
      const shape = JSON.stringify([state.services.map((s) => s.name), state.edges.map((e) => [e.caller, e.callee])]);
      if (!graph || graph.shape !== shape) {
        graph = draw(state, shape, context);
        replace(drawing, graph.element);
      }
      graph.update(state);
      rows.update(state.services, (s) => s.name);
    },
    unmount() {},
  };
}

function draw(state, shape, context) {
  const names = state.services.map((s) => s.name);
  const calls = state.edges.map((e) => [e.caller, e.callee]);
  const outside = calls.some(([caller]) => caller === CLIENTS);
  const placed = layout(outside ? [CLIENTS, ...names] : names, calls.filter(([a, b]) => a !== b && (a === CLIENTS || names.includes(a))), BOX);
  const element = svg("svg", { width: placed.width, height: placed.height, viewBox: `0 0 ${placed.width} ${placed.height}`, role: "presentation" });
  const edges = placed.edges.map(([caller, callee, path]) => {
    const words = svg("title");
    const line = svg("path", { d: path, class: "edge" }, words);
    element.append(line);
    return { caller, callee, line, words };
  });
  const boxes = new Map();
  for (const [name, { x, y }] of placed.at) {
    const first = svg("text", { x: 12, y: 22, class: "name" }, name === CLIENTS ? "clients" : short(name, 18));
    const second = svg("text", { x: 12, y: 40, class: "figure" });
    const third = svg("text", { x: 12, y: 54, class: "figure" });
    const words = svg("title", {}, name === CLIENTS ? "proxies that stand beside no service" : name);
    const box = svg("g", { class: "box", transform: `translate(${x} ${y})` }, words, svg("rect", { width: BOX.width, height: BOX.height, rx: 10 }), first, second, third);
    const link = name === CLIENTS ? box : svg("a", { href: context.href("service", name) }, box);
    element.append(link);
    boxes.set(name, { box, link, second, third });
  }
  return {
    shape,
    element,
    update(now) {
      const most = Math.max(1e-9, ...now.edges.map((e) => e.requests_per_s));
      const rates = new Map(now.edges.map((e) => [e.caller + "\n" + e.callee, e.requests_per_s]));
      const health = new Map(now.services.map((s) => [s.name, s.health]));
      for (const { caller, callee, line, words } of edges) {
        const rate = rates.get(caller + "\n" + callee) || 0;
        line.setAttribute("stroke-width", (1 + 5 * Math.sqrt(rate / most)).toFixed(2));
        line.setAttribute("class", "edge " + (health.get(callee) || ""));
        say(words, `${caller || "clients"} to ${callee}: ${perSecond(rate)}`);
      }
      for (const s of now.services) {
        const box = boxes.get(s.name);
        if (!box) continue;
        box.box.setAttribute("class", "box " + s.health);
        box.link.setAttribute("href", context.href("service", s.name));
        say(box.second, `${MARK[s.health]} ${perSecond(s.requests_per_s)}`);
        say(box.third, `p99 ${seconds(worst(s))} · ${percent(failed(s))} failed`);
      }
      const clients = boxes.get(CLIENTS);
      if (clients) say(clients.second, perSecond(now.edges.filter((e) => e.caller === CLIENTS).reduce((sum, e) => sum + e.requests_per_s, 0)));
    },
  };
}

function row(name, context) {
  const link = h("a", {}, name);
  const mark = h("span");
  const cells = Array.from({ length: 8 }, (_, i) => h("td", { class: i > 0 && i < 7 ? "num" : null }));
  const incident = h("a", { class: "bad" });
  cells[7].append(incident);
  return {
    element: h("tr", {}, h("td", {}, mark, " ", link), cells),
    update(s) {
      link.setAttribute("href", context.href("service", name));
      mark.className = s.health;
      mark.title = s.health;
      say(mark, MARK[s.health]);
      const pair = (arm) => `${seconds(arm.p50_s)} / ${seconds(arm.p99_s)}`;
      const words = [
        s.state === s.mode ? s.mode : `${s.mode}, ${s.state}`,
        perSecond(s.requests_per_s),
        pair(s.static),
        pair(s.adaptive),
        percent(failed(s)),
        percent(s.share_percent / 100),
        within(s.gain.value, s.gain.low, s.gain.high),
      ];
      words.forEach((text, i) => say(cells[i], text));
      say(incident, s.incident || "");
      if (s.incident) incident.setAttribute("href", context.href("incidents", s.incident));
    },
  };
}

// Of both arms together; null where neither knows.
export function failed(s) {
  let count = 0;
  let bad = 0;
  for (const arm of [s.static, s.adaptive]) {
    if (arm.failed_share === null) continue;
    count += arm.requests_per_s;
    bad += arm.failed_share * arm.requests_per_s;
  }
  return count > 0 ? bad / count : null;
}

function worst(s) {
  const known = [s.static.p99_s, s.adaptive.p99_s].filter((v) => v !== null);
  return known.length ? Math.max(...known) : null;
}

const short = (name, most) => (name.length > most ? name.slice(0, most - 1) + "…" : name);
