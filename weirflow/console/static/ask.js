// Nothing changes without being asked: what will happen, what is so now, and a button that says what it does.

import { h, replace } from "./dom.js";

// Resolves to null when refused, else to the field's value ("" without one). `facts`: [[name, before, after]].
export function ask({ title, words, facts = [], field = null, action, danger = false }) {
  const dialog = document.getElementById("ask");
  const input = field && h("input", { type: field.type || "text", id: "ask-field", autocomplete: "off", value: field.value });
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
    field && h("label", { for: "ask-field" }, field.label, input),
    h(
      "div",
      { class: "buttons" },
      h("button", { type: "button", onclick: () => dialog.close("no") }, "Leave it"), // not a submit: Enter is for the other
      h("button", { type: "submit", value: "yes", class: danger ? "danger" : "main" }, action),
    ),
  );
  replace(dialog, form);
  return new Promise((answer) => {
    dialog.addEventListener("close", () => answer(dialog.returnValue === "yes" ? (input ? input.value : "") : null), {
      once: true,
    });
    dialog.returnValue = "no";
    dialog.showModal();
    if (input) input.focus();
  });
}
