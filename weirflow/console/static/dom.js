// Elements from code. Text is only ever set as text, so no name that a mesh holds can become markup.

const SVG = "http://www.w3.org/2000/svg";

// h("td", {class: "num", title: why}, "42", " ms"). Properties that start with "on" are listeners; null and false leave
// an attribute out. Children: elements, strings, numbers, arrays of them; null and false are nothing.
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

// Sets a text only when it is another: what has not changed is not laid out again, and a selection in it stays.
export function say(element, text) {
  const told = String(text);
  if (element.textContent !== told) element.textContent = told;
}

// Keeps one row element by key over many updates, in the order of `keys`. `make(key)` gives {element, update(item)}.
// With `inSight` a row that nobody can see is not written anew before it comes near: for those of which there are many.
export class Rows {
  constructor(parent, make, { inSight = false } = {}) {
    this.parent = parent;
    this.make = make;
    this.rows = new Map();
    this.sight = inSight ? new IntersectionObserver((seen) => seen.forEach((s) => this.cameOrWent(s)), { rootMargin: "600px" }) : null;
    this.waiting = new Map(); // by element: {row, item}, what a row out of sight has not been told
    this.far = new Set();
  }

  cameOrWent({ target, isIntersecting }) {
    if (!isIntersecting) return this.far.add(target);
    this.far.delete(target);
    const late = this.waiting.get(target);
    if (late) late.row.update(late.item);
    this.waiting.delete(target);
  }

  update(items, keyOf) {
    const seen = new Set();
    let at = this.parent.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      seen.add(key);
      let row = this.rows.get(key);
      if (!row) {
        this.rows.set(key, (row = this.make(key)));
        if (this.sight) this.sight.observe(row.element);
      }
      if (this.far.has(row.element)) this.waiting.set(row.element, { row, item });
      else row.update(item);
      if (row.element === at) at = at.nextElementSibling;
      else this.parent.insertBefore(row.element, at);
    }
    for (const [key, row] of this.rows) {
      if (!seen.has(key)) {
        row.element.remove();
        this.rows.delete(key);
        if (this.sight) this.sight.unobserve(row.element);
        this.waiting.delete(row.element);
        this.far.delete(row.element);
      }
    }
  }
}
