// Modes and what an operator may do about them, and what the mesh file tunes. Read-only without a token; each change
// asks, and the audit keeps it.

import { token, setToken } from "../api.js";
import { h, replace, Rows, say } from "../dom.js";
import { meshFile } from "../meshfile.js";
import { ago, number, seconds } from "../words.js";
import { told } from "./decisions.js";

export const title = "Settings";

const MODES = {
  static: "your rules alone; nothing is decided",
  shadow: "decided, explained and scored; nothing is applied",
  adaptive: "learned weights and limits, on the share that you allow",
};
const EVERY_MS = 5000;

export function mount(root, context) {
  const lock = h("section", { class: "card" });
  const frozen = h("p");
  const freeze = h("button", { type: "button", onclick: () => askFreeze() });
  const rollback = h("button", { type: "button", class: "danger", onclick: () => askRollback() }, "Roll back");
  const said = h("p", { class: "note", hidden: true, role: "status" });
  const body = h("tbody");
  const file = meshFile(context, change);
  const process = h("dl", { class: "facts" });
  const nodes = h("tbody");
  root.append(
    h("h1", {}, title),
    said,
    lock,
    h("section", { class: "card" }, h("h2", {}, "All services"), frozen, h("div", { class: "buttons" }, freeze, rollback)),
    h("section", { class: "card wide" }, h("h2", {}, "Modes"), h("table", {}, h("thead", {}, h("tr", {}, ["service", "mode", "state", "share", ""].map((w) => h("th", {}, w)))), body)),
    file.element,
    h("section", { class: "card" }, h("h2", {}, "This brain"), process),
    h("section", { class: "card wide" }, h("h2", {}, "Proxies"), h("table", {}, h("thead", {}, h("tr", {}, ["proxy", "line", "telemetry", "requests", "refused configurations"].map((w) => h("th", {}, w)))), nodes)),
  );
  const rows = new Rows(body, (name) => row(name, (s) => askMode(s)));
  let seen = null;
  let asked = 0;
  let about = { token: false, change: false };
  know();

  // Asks whether there is a token, and whether ours is it.
  async function know() {
    try {
      about = await context.get("api/about");
    } catch {
      about = { token: true, change: false };
    }
    context.allow(about.change);
    drawLock();
    draw();
  }

  function drawLock() {
    const words = !about.token
      ? "There is no admin.token_file in the mesh file, so nothing can be changed from here. The command line on the brain's machine can."
      : about.change
        ? "The token stays in this tab until it is closed."
        : "A token is needed to change anything: the first line of the file that admin.token_file of the mesh file names.";
    const wrong = token() && about.token && !about.change;
    replace(
      lock,
      h("h2", {}, about.change ? "Changes are possible" : "Read-only"),
      wrong && h("p", { class: "note bad" }, "What was entered is not the token."),
      h("p", {}, words),
      about.token && h("button", { type: "button", onclick: () => askToken() }, about.change ? "Forget the token" : "Enter the token"),
    );
  }

  async function askToken() {
    if (about.change) setToken("");
    else {
      const given = await context.ask({ title: "Token", words: "It stays in this tab, and goes with what is asked of the brain.", fields: [{ name: "token", label: "Token", type: "password" }], action: "Use it" });
      if (given !== null) setToken(given.token.trim());
    }
    know();
  }

  function askFreeze() {
    const on = !seen.frozen;
    change("/freeze", { on }, {
      title: on ? "Hold the present plan?" : "Let the brain decide again?",
      words: on ? "Weights, limits and shares stay as they are, and the lease is renewed, until somebody lets go." : "The next tick may move weights.",
      facts: [["plan", seen.frozen ? "held" : "decided every tick", on ? "held" : "decided every tick"]],
      action: on ? "Freeze" : "Let go",
    });
  }

  function askRollback() {
    change("/rollback", {}, {
      title: "Back to your static rules?",
      words: "Every service goes to shadow: all traffic by your rules, nothing learned in force. What was learned is kept.",
      facts: seen.services.map((s) => [s.name, `${s.mode}, ${number(s.share_percent)} %`, "shadow, 0 %"]),
      action: "Roll back",
      danger: true,
    });
  }

  async function askMode(s) {
    const given = await context.ask({
      title: `Mode of ${s.name}`,
      words: "The share is of its traffic on learned weights while it is adaptive; the rest stays on your rules, to measure against.",
      fields: [
        { name: "mode", label: "Mode", value: s.mode, options: Object.entries(MODES).map(([mode, words]) => [mode, `${mode}: ${words}`]) },
        { name: "share", label: "Share in percent", type: "number", min: 0, max: 100, step: "any", required: true, value: s.commanded_share_percent },
      ],
      action: "Go on",
    });
    if (given === null) return;
    const body = { service: s.name, mode: given.mode };
    const share = Number(given.share);
    if (share !== s.commanded_share_percent) body.share_percent = share;
    change("/mode", body, {
      title: `Change ${s.name}?`,
      words: `${given.mode}: ${MODES[given.mode]}.`,
      facts: [
        ["mode", s.mode, given.mode],
        ["share", `${number(s.commanded_share_percent)} %`, `${number(share)} %`],
      ],
      action: `Set ${given.mode}`,
    });
  }

  // Whether it was done.
  async function change(path, body, question) {
    if ((await context.ask(question)) === null) return false;
    said.hidden = false;
    said.className = "note";
    try {
      const done = await context.post(path, body);
      say(said, `Done, as ${done.who}: ${done.what}. Before: ${told(done.before)}. After: ${told(done.after)}.`);
    } catch (error) {
      said.className = "note bad";
      say(said, `Not done: ${error.message}${error.mend ? ". " + error.mend : ""}`);
      return false;
    }
    return true;
  }

  function draw() {
    if (!seen) return;
    const may = context.mayChange();
    const why = may ? null : about.change ? "This is the past: go back to now to change something." : "Read-only: enter the token first.";
    say(frozen, seen.frozen ? "An operator holds the plan: nothing moves." : "The brain decides once a tick.");
    say(freeze, seen.frozen ? "Let go" : "Freeze");
    for (const button of [freeze, rollback]) {
      button.disabled = !may;
      button.title = why || "";
    }
    file.update(may, why);
    rows.update(seen.services.map((s) => ({ s, may, why })), ({ s }) => s.name);
    replace(
      nodes,
      seen.nodes.map((n) =>
        h(
          "tr",
          {},
          h("td", {}, n.name),
          h("td", { class: n.connected ? null : "bad" }, n.connected ? "connected" : "away"),
          h("td", { class: n.fresh ? null : "warn" }, n.report_age_s === null ? "never" : seconds(n.report_age_s) + " old"),
          h("td", {}, `${number(n.issued_per_s)}/s, ${number(n.seen_per_s)}/s logged`),
          h("td", { class: n.nacks ? "warn" : null }, `${n.nacks}${Object.keys(n.parked).length ? ": " + Object.entries(n.parked).map(([k, v]) => `${k} ${v}`).join("; ") : ""}`),
        ),
      ),
    );
  }

  return {
    async update(state) {
      seen = state;
      draw();
      if (!state || Date.now() - asked < EVERY_MS) return;
      asked = Date.now();
      try {
        const { process: p, now } = await context.get("/status");
        replace(process, facts(p, now).map(([name, words]) => [h("dt", {}, name), h("dd", {}, words)]));
      } catch (error) {
        replace(process, h("dt", {}, "status"), h("dd", { class: "bad" }, error.message));
      }
    },
    unmount() {},
  };
}

function row(name, ask) {
  const cells = Array.from({ length: 3 }, () => h("td"));
  const button = h("button", { type: "button", onclick: () => ask(shown), "aria-label": `Change the mode of ${name}` }, "Change");
  let shown = null;
  return {
    element: h("tr", {}, h("td", {}, name), cells, h("td", {}, button)),
    update({ s, may, why }) {
      shown = s;
      [s.mode, s.state, `${number(s.share_percent)} % of ${number(s.commanded_share_percent)} % asked for`].forEach((text, i) => say(cells[i], text));
      button.disabled = !may;
      button.title = why || "";
    },
  };
}

function facts(p, now) {
  const driver = p.driver || {};
  const recording = p.recording;
  return [
    ["version", p.version],
    ["mesh file", (p.config || {}).file],
    ["last reload", (p.config || {}).reload_error || "accepted"],
    ["xDS", `${(p.xds || {}).address}, lease of ${seconds((p.xds || {}).ttl_s)}`],
    ["lease renewed", driver.renewed_at ? ago(driver.renewed_at, now) : "never"],
    ["ticks", `${driver.ticks}, ${driver.ticks_skipped} skipped, ${driver.tick_errors} failed; the last took ${seconds(driver.last_tick_s)}`],
    ["recording", recording ? `${recording.state}, ${number(recording.attempts)} attempts in ${recording.folder}` : "none"],
    ["problems", (driver.problems || []).slice(-3).join("; ") || "none"],
  ].map(([name, words]) => [name, words ?? "–"]);
}
