// The shell: which page is shown, of which moment, and whether the line to the brain stands.
//
// The address says all of it: #/PAGE/NAME?at=SECONDS, so what is seen can be sent to somebody. Without `at` it is live.
// A page is a module with `title` and `mount(root, context)`, which returns {update(state), unmount()}; `update` is given
// every state document (weirflow/console/state.py), `state` null while there is none yet. Pages draw; they keep nothing
// that the document holds.

import { get, post, setToken, stream } from "./api.js";
import { h, replace, say } from "./dom.js";
import { clock } from "./words.js";
import { ask } from "./ask.js";
import { When } from "./when.js";
import * as mesh from "./pages/mesh.js";
import * as service from "./pages/service.js";
import * as decisions from "./pages/decisions.js";
import * as incidents from "./pages/incidents.js";
import * as forecasts from "./pages/forecasts.js";
import * as models from "./pages/models.js";
import * as whatif from "./pages/whatif.js";
import * as settings from "./pages/settings.js";

const PAGES = { mesh, service, decisions, incidents, forecasts, models, whatif, settings };
const IN_NAV = ["mesh", "decisions", "incidents", "forecasts", "models", "whatif", "settings"];

const main = document.getElementById("main");
const standing = document.getElementById("standing");

let live = null; // the newest document of the stream
let shown = null; // the one on the page: live, or of `route.at`
let line = { state: "waiting", why: "" };
let route = { page: "mesh", name: null, at: null, query: new URLSearchParams() };
let page = null;
let asked = 0;
let allowed = false; // the brain said that the token is right

export function parse(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  const parameters = new URLSearchParams(query || "");
  const at = Number(parameters.get("at"));
  let second = null;
  try {
    second = rest.length ? decodeURIComponent(rest.join("/")) : null;
  } catch {
    second = null; // not what we write: no name then
  }
  const known = Object.hasOwn(PAGES, name) ? name : "mesh";
  return { page: known, name: second, at: at > 0 ? at : null, query: parameters };
}

// The address of a page at the moment that is shown. `more`: further query parameters, null to take one out.
export function href(page, name = null, more = {}) {
  const query = new URLSearchParams();
  if (route.at !== null) query.set("at", route.at);
  for (const [key, value] of Object.entries(more)) {
    if (value === null) query.delete(key);
    else query.set(key, value);
  }
  const tail = query.size ? "?" + query : "";
  return "#/" + page + (name === null ? "" : "/" + encodeURIComponent(name)) + tail;
}

const context = {
  get,
  post,
  href,
  ask,
  route: () => route,
  // Changes the query of this very page, as a slider does: no new entry in the history unless asked for.
  turn(more, keep = false) {
    const address = href(route.page, route.name, Object.fromEntries([...route.query, ...Object.entries(more)]));
    if (keep) location.hash = address;
    else history.replaceState(null, "", address);
    if (!keep) turned();
  },
  mayChange: () => allowed && route.at === null,
  allow: (may) => (allowed = may),
};

function turned() {
  const before = route;
  route = parse(location.hash);
  if (!page || before.page !== route.page || before.name !== route.name) open();
  if (before.at !== route.at || !shown) choose();
  when.update(route.at, live);
  draw();
}

function open() {
  if (page) page.unmount();
  const module = PAGES[route.page];
  replace(main);
  page = module.mount(main, context);
  document.title = (route.name ? route.name + " · " : "") + module.title + " · Weirflow";
  for (const link of document.querySelectorAll("#nav a")) {
    const here = link.dataset.page === route.page || (route.page === "service" && link.dataset.page === "mesh");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

// What is shown: the live document, or one that has to be asked for.
async function choose() {
  if (route.at === null) {
    shown = live;
    return;
  }
  const mine = ++asked;
  try {
    const document = await get("api/state", { at: route.at });
    if (mine !== asked) return;
    shown = document;
    when.said("");
  } catch (error) {
    if (mine !== asked) return;
    when.said(error.message + (error.mend ? ": " + error.mend : ""));
  }
  draw();
}

function draw() {
  if (page) page.update(shown);
  const words = { waiting: "connecting", live: "live", lost: "no line to the brain: " + line.why }[line.state];
  standing.className = "standing " + line.state;
  say(standing, live ? `${words} · tick ${live.tick}, ${clock(live.at)}` : words);
}

async function needsToken(why) {
  const given = await ask({
    title: "A token is needed",
    words: why + ". It is the first line of the file that admin.token_file names, and stays in this tab.",
    fields: [{ name: "token", label: "Token", type: "password" }],
    action: "Use it",
  });
  if (given !== null) {
    setToken(given.token.trim());
    start();
  }
}

let stop = () => {};
function start() {
  stop();
  stop = stream(
    (document) => {
      if (live && document.schema !== live.schema) location.reload();
      live = document;
      if (route.at === null) shown = live;
      when.update(route.at, live);
      draw();
    },
    (state, why, status) => {
      const was = line.state;
      line = { state, why };
      if (state === "lost" && status === 401) {
        stop();
        needsToken(why);
      }
      if (state !== was || state === "lost") draw();
    },
  );
}

// A browser has six connections to a place and no more, and a stream holds one: a page that nobody sees lets its own go.
function seen() {
  if (document.hidden) {
    stop();
    line = { state: "waiting", why: "" };
  } else start();
}
document.addEventListener("visibilitychange", seen);
window.addEventListener("pagehide", () => stop());
window.addEventListener("pageshow", (event) => event.persisted && start());

const when = new When(document.getElementById("when"), context);

for (const name of IN_NAV) {
  document.getElementById("nav").append(h("a", { href: "#/" + name, "data-page": name }, PAGES[name].title));
}
window.addEventListener("hashchange", turned);
turned();
seen();
