// The mesh file: what is tuned by it, and what reading it again would change. The file is the one place where that is
// written, so nothing is typed in here: the difference is shown, and asked about, and then the file is read.

import { h, replace, say } from "./dom.js";

const MOST = 100; // changes that are shown; the audit keeps as many

// `change(path, body, question)` asks, posts and tells, and resolves to whether it was done.
export function meshFile(context, change) {
  const where = h("code");
  const said = h("p", { role: "status" });
  const differences = h("div", { class: "wide" });
  const look = h("button", { type: "button", onclick: () => ask() }, "Look at the file again");
  const read = h("button", { type: "button", class: "main", onclick: () => reread() }, "Read it again");
  const settings = h("tbody");
  const element = h(
    "section",
    { class: "card" },
    h("h2", {}, "The mesh file"),
    h(
      "p",
      { class: "quiet" },
      "What is tuned is changed in ", where, " and only there: a value that was set here alone would be lost with the next restart and undone by the next rollout. " +
        "Change the file, look at what that would change, and have it read again; SIGHUP does the same. A file with a mistake changes nothing.",
    ),
    said,
    differences,
    h("div", { class: "buttons" }, look, read),
    h(
      "details",
      {},
      h("summary", {}, "All that can be tuned, as it is in force"),
      h("div", { class: "wide" }, h("table", {}, h("thead", {}, h("tr", {}, ["key", "in force", "default", "what it is"].map((w) => h("th", {}, w)))), settings)),
    ),
  );
  let told = null;
  let may = false;
  let why = null;

  async function ask() {
    look.disabled = true;
    try {
      told = await context.get("api/file");
      say(where, told.file);
      const count = told.changes.length;
      said.className = told.digest ? "quiet" : "note bad";
      if (!told.digest) say(said, "The file as it is now would be refused:");
      else say(said, count ? `Reading the file again would change ${count === 1 ? "this" : `these ${count}`}:` : "The file says what is in force.");
      replace(differences, count > 0 && changes(told.changes), told.problems.length > 0 && problems(told.problems));
      replace(settings, told.settings.map(setting));
    } catch (error) {
      told = null;
      said.className = "note bad";
      say(said, error.message);
    }
    look.disabled = false;
    draw();
  }

  async function reread() {
    const question = {
      title: "Read the mesh file again?",
      words: "From the next tick on, within a second. What was learned is kept, unless the way of learning itself changes.",
      facts: told.changes.slice(0, MOST).map((c) => [c.key, value(c.before), value(c.after)]),
      action: "Read it again",
    };
    if (await change("/reload", { digest: told.digest }, question)) ask();
  }

  function draw() {
    const fixed = told ? told.changes.filter((c) => !c.live).map((c) => c.key) : [];
    const reason = !told || !told.digest ? "The file would be refused." : fixed.length ? `It takes a restart: ${fixed.join(", ")} cannot change while it runs.` : told.changes.length ? why : "There is nothing to change.";
    read.disabled = Boolean(reason) || !may;
    read.title = reason || why || "";
  }

  ask();
  return {
    element,
    update(mayNow, whyNot) {
      [may, why] = [mayNow, whyNot];
      draw();
    },
  };
}

// As the file would have it; nothing where it is not there.
const value = (v) => (v === null || v === undefined ? "–" : typeof v === "object" ? JSON.stringify(v) : String(v));

const table = (heads, rows) => h("table", {}, h("thead", {}, h("tr", {}, heads.map((w) => h("th", {}, w)))), h("tbody", {}, rows));

function changes(all) {
  const rows = all.slice(0, MOST).map((c) => h("tr", {}, h("td", {}, c.key), c.live ? [h("td", {}, value(c.before)), h("td", {}, value(c.after))] : h("td", { class: "warn", colspan: 2 }, "takes a restart")));
  if (all.length > MOST) rows.push(h("tr", {}, h("td", { class: "quiet", colspan: 3 }, `and ${all.length - MOST} more`)));
  return table(["key", "in force", "in the file"], rows);
}

function problems(all) {
  const words = (p) => `${p.severity === "error" ? "" : p.severity + ": "}${p.message}${p.mend ? "; " + p.mend : ""}`;
  return table(["line", "key", "what is wrong, and the mend"], all.map((p) => h("tr", {}, [p.line || "", p.key, words(p)].map((t) => h("td", {}, t)))));
}

const setting = (s) => h("tr", {}, h("td", {}, s.key), h("td", {}, s.written ? h("strong", {}, value(s.value)) : value(s.value)), h("td", { class: "quiet" }, value(s.default)), h("td", { class: "why" }, s.about));
