// What was decided, why, which guard held it, and what would have been without; and what operators changed.

import { h, replace, Rows, say } from "../dom.js";
import { clock, number } from "../words.js";

export const title = "Decisions";

const WORDS = { pushed: "weights pushed", alert: "alert", over: "alert over", note: "note" };
const EVERY_MS = 5000;
const MOST_HELD = 50; // endpoints of a service

export function mount(root, context) {
  const now = h("p", { class: "quiet" });
  const services = h("div");
  const news = h("tbody");
  const none = h("p", { class: "quiet" });
  const audit = h("tbody");
  root.append(
    h("h1", {}, title),
    now,
    services,
    h("section", { class: "card wide" }, h("h2", {}, "Over the last ten minutes"), none, h("table", {}, h("thead", {}, h("tr", {}, ["when", "tick", "service", "what", "why"].map((w) => h("th", {}, w)))), news)),
    h("section", { class: "card wide" }, h("h2", {}, "What operators changed"), h("table", {}, h("thead", {}, h("tr", {}, ["when", "who", "what", "before", "after"].map((w) => h("th", {}, w)))), audit)),
  );
  const blocks = new Rows(services, (name) => block(name, context));
  let asked = 0;
  let askedOf = undefined;

  async function ask(state) {
    const { at } = context.route();
    if (askedOf === at && (at !== null || Date.now() - asked < EVERY_MS)) return;
    asked = Date.now();
    askedOf = at;
    const until = at === null ? state.at : at;
    try {
      const told = await context.get("api/news", { since: until - 600, until: until + 0.5 });
      say(none, told.news.length ? "" : "Nothing moved and nothing was told.");
      replace(news, told.news.map((n) => line(n, context)));
    } catch (error) {
      say(none, error.message);
    }
    try {
      const { entries } = await context.get("/audit");
      replace(audit, entries.slice().reverse().slice(0, 100).map(changed));
    } catch (error) {
      replace(audit, h("tr", {}, h("td", { colspan: 5 }, error.message)));
    }
  }

  return {
    update(state) {
      if (!state) return say(now, "Nothing has been decided yet.");
      const plan = state.plan_version === null ? "no plan" : `plan ${state.plan_version}`;
      say(now, `tick ${state.tick} at ${clock(state.at)}: ${plan}${state.frozen ? ", held by an operator" : ""}${state.notes.length ? "; " + state.notes.join("; ") : ""}`);
      blocks.update(state.services, (s) => s.name);
      ask(state);
    },
    unmount() {},
  };
}

// A service: what was decided for it, and each endpoint that is not simply as its learner wants it.
function block(name, context) {
  const head = h("a", {}, name);
  const state = h("span", { class: "badge" });
  const reason = h("p");
  const body = h("tbody");
  const even = h("p", { class: "quiet" });
  const more = h("p", { class: "quiet" });
  const table = h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ["endpoint", "yours", "wanted", "in force", "guard", "why"].map((w, i) => h("th", { class: i > 0 && i < 4 ? "num" : null }, w)))),
    body,
  );
  const element = h("section", { class: "card wide aside" }, h("h2", {}, head, " ", state), reason, table, more, even);
  const rows = new Rows(body, endpoint);
  return {
    element,
    update(s) {
      head.setAttribute("href", context.href("service", name));
      say(state, `${s.state}${s.pushed ? ", pushed now" : ""}, ${number(s.share_percent)} %`);
      say(reason, s.reason);
      const e = s.endpoints;
      const held = e.address.map((_, i) => i).filter((i) => e.guard[i] || e.proposed[i] !== e.weight[i]);
      table.hidden = !held.length;
      const rest = e.address.length - held.length;
      say(even, `${rest} of ${e.address.length} endpoints have just the weight that their learner wants.`);
      even.hidden = !rest;
      rows.update(held.slice(0, MOST_HELD).map((i) => ({ s, e, i })), ({ i }) => e.address[i]);
      say(more, `and ${held.length - MOST_HELD} more`);
      more.hidden = held.length <= MOST_HELD;
    },
  };
}

function endpoint(address) {
  const cells = Array.from({ length: 5 }, (_, i) => h("td", { class: i < 3 ? "num" : i === 4 ? "why" : null }));
  return {
    element: h("tr", {}, h("td", {}, address), cells),
    update({ s, e, i }) {
      const guard = e.guard[i] || (s.share_percent > 0 ? "step or gate" : s.mode);
      [number(e.static_weight[i]), number(e.proposed[i]), number(e.weight[i]), guard, e.reason[i]].forEach((text, c) => say(cells[c], text));
    },
  };
}

function line(n, context) {
  const about = n.service ? h("a", { href: context.href("service", n.service) }, n.service) : "all";
  return h(
    "tr",
    {},
    h("td", {}, h("button", { type: "button", class: "plain", onclick: () => context.turn({ at: n.at }, true) }, clock(n.at))),
    h("td", { class: "num" }, n.tick),
    h("td", {}, about),
    h("td", { class: n.kind === "alert" ? "bad" : null }, WORDS[n.kind] || n.kind),
    h("td", {}, n.words),
  );
}

function changed(entry) {
  return h(
    "tr",
    {},
    h("td", {}, clock(entry.now)),
    h("td", {}, entry.who),
    h("td", {}, entry.what, entry.refused && h("span", { class: "bad" }, ` refused: ${entry.refused}`)),
    h("td", {}, told(entry.before)),
    h("td", {}, told(entry.after)),
  );
}

// What stood before or after, short.
export function told(standing) {
  const parts = [];
  for (const [name, value] of Object.entries(standing || {})) {
    if (name === "services") for (const [s, v] of Object.entries(value)) parts.push(`${s}: ${v.mode} ${number(v.share_percent)} %`);
    else parts.push(`${name} ${typeof value === "object" && value !== null ? JSON.stringify(value) : value}`);
  }
  return parts.join(", ");
}
