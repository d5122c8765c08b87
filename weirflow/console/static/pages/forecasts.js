// What will be asked of each service, with the interval, against what it bears.

import { h, Rows, say } from "../dom.js";
import { chart, near } from "../charts.js";
import { number, percent, perSecond, seconds } from "../words.js";
import { Course } from "../course.js";

export const title = "Forecasts";

export function mount(root, context) {
  const none = h("p", { class: "quiet" });
  const list = h("div", { class: "cards" });
  root.append(h("h1", {}, title), none, list);
  const blocks = new Rows(list, (name) => block(name, context));
  return {
    update(state) {
      const told = state ? state.services.filter((s) => s.forecast) : [];
      say(none, !state ? "Nothing has been decided yet." : told.length ? "The middle and a 90 % interval of what comes, by what each service has lived. Unknown stays empty." : "Demand is not learned: adaptive.models.demand is off in the mesh file.");
      blocks.update(told, (s) => s.name);
      for (const s of told) blocks.rows.get(s.name).at(state);
    },
    unmount() {
      for (const row of blocks.rows.values()) row.destroy();
    },
  };
}

function block(name, context) {
  const link = h("a", {}, name);
  const facts = h("p", { class: "quiet" });
  const plot = h("div", { class: "chart" });
  const body = h("tbody");
  const element = h(
    "section",
    { class: "card" },
    h("h2", {}, link),
    facts,
    plot,
    h("div", { class: "wide" }, h("table", {}, h("thead", {}, h("tr", {}, ["ahead", "middle", "90 % interval", "spare at its top"].map((w, i) => h("th", { class: i ? "num" : null }, w)))), body)),
  );
  const course = new Course(context, { service: name }, ["asked_per_s", "capacity_per_s"]);
  let seen = null;
  let drawn = null;
  // Drawn once it stands in the page: before that it has no width.
  const plotted = () =>
    (drawn ||= chart(plot, {
      series: [
        { label: "asked", colour: "--text" },
        { label: "middle", colour: "--adaptive", width: 2 },
        { label: "low", colour: "--band", width: 0 },
        { label: "high", colour: "--band", width: 0, band: [2, 3] },
        { label: "bears", colour: "--quiet", dash: [2, 3] },
      ],
      read: perSecond,
      mark: () => context.route().at,
    }));
  return {
    element,
    update(s) {
      seen = s;
    },
    at(state) {
      const s = seen;
      const f = s.forecast;
      link.setAttribute("href", context.href("service", name));
      say(facts, `${perSecond(f.now_per_s)} asked now, ${perSecond(s.capacity)} borne; learned from ${seconds(f.count)}`);
      course.add(state, (figure) => (figure === "capacity_per_s" ? s.capacity : f.now_per_s));
      const d = course.data;
      const ahead = f.ahead_s.map((a) => state.at + a);
      const gap = (n) => Array(n).fill(null);
      plotted().update([
        [...d.at, ...ahead],
        [...d.asked_per_s, ...gap(ahead.length)],
        [...gap(d.at.length), ...f.value],
        [...gap(d.at.length), ...f.low],
        [...gap(d.at.length), ...f.high],
        [...d.capacity_per_s, ...gap(ahead.length).map(() => s.capacity)].map((c) => near(c, [...d.asked_per_s, ...f.high])),
      ]);
      while (body.children.length < f.ahead_s.length) body.append(h("tr", {}, h("td"), h("td", { class: "num" }), h("td", { class: "num" }), h("td", { class: "num" })));
      f.ahead_s.forEach((a, i) => {
        const cells = body.children[i].children;
        say(cells[0], seconds(a));
        say(cells[1], perSecond(f.value[i]));
        say(cells[2], f.low[i] === null ? "–" : `${number(f.low[i])} to ${perSecond(f.high[i])}`);
        say(cells[3], percent(f.spare[i]));
        cells[3].className = f.spare[i] !== null && f.spare[i] < 0 ? "num bad" : "num";
      });
    },
    destroy() {
      if (drawn) drawn.destroy();
    },
  };
}
