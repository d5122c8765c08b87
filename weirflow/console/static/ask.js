// Nothing changes without being asked: what will happen, what is so now, and a button that says what it does.

import { h, replace } from "./dom.js";

// Resolves to null when refused, else to the fields' values by name. `facts`: [[name, before, after]]; `fields`:
// [{name, label, type, value, ...}], with `options` [[value, words]] a choice among these.
export function ask({ title, words, facts = [], fields = [], action, danger = false }) {
  const dialog = document.getElementById("ask");
  const inputs = fields.map(entry);
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", {}, title),
    h("p", {}, words),
    facts.length > 0 &&
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, h("th", {}, ""), h("th", {}, "now"), h("th", {}, "then"))),
        h("tbody", {}, facts.map(([name, before, after]) => h("tr", {}, h("th", {}, name), h("td", {}, before), h("td", {}, after)))),
      ),
    inputs.map((input, i) => h("label", {}, fields[i].label, input)),
    h(
      "div",
      { class: "buttons" },
      h("button", { type: "button", onclick: () => dialog.close("no") }, "Leave it"), // not a submit: Enter is for the other
      h("button", { type: "submit", value: "yes", class: danger ? "danger" : "main" }, action),
    ),
  );
  replace(dialog, form);
  return new Promise((answer) => {
    const told = () => Object.fromEntries(inputs.map((input, i) => [fields[i].name, input.value]));
    dialog.addEventListener("close", () => answer(dialog.returnValue === "yes" ? told() : null), { once: true });
    dialog.returnValue = "no";
    dialog.showModal();
    if (inputs.length) inputs[0].focus();
  });
}

function entry({ name, label, options, value, ...properties }) {
  if (!options) return h("input", { name, value, autocomplete: "off", ...properties });
  return h("select", { name }, options.map(([choice, words]) => h("option", { value: choice, selected: choice === value }, words)));
}
