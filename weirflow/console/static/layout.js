// Where the boxes of a call graph stand: a column is how far from the clients, and within it near those who call.

// `names` in their order, `calls` as [caller, callee]. Returns {at: Map(name, {x, y}), edges: [[caller, callee, path]],
// width, height}. A circle of calls is cut where it closes.
export function layout(names, calls, { width, height, gapX, gapY }) {
  const callees = new Map(names.map((n) => [n, []]));
  for (const [a, b] of calls) if (callees.has(a) && callees.has(b)) callees.get(a).push(b);
  const depth = depths(names, callees);
  const columns = [];
  for (const name of names) (columns[depth.get(name)] ||= []).push(name);
  const order = new Map();
  for (const column of columns) {
    const weight = new Map(column.map((n) => [n, middle(calls.filter(([, b]) => b === n).map(([a]) => order.get(a)))]));
    column.sort((a, b) => weight.get(a) - weight.get(b) || names.indexOf(a) - names.indexOf(b));
    column.forEach((n, i) => order.set(n, i - (column.length - 1) / 2));
  }
  const tallest = Math.max(1, ...columns.map((c) => c.length));
  const whole = tallest * (height + gapY) + gapY;
  const at = new Map();
  for (const name of names) {
    at.set(name, {
      x: gapY + depth.get(name) * (width + gapX),
      y: Math.round(whole / 2 + order.get(name) * (height + gapY) - height / 2),
    });
  }
  const edges = calls.map(([a, b]) => [a, b, curve(at.get(a), at.get(b), width, height)]);
  return { at, edges, width: 2 * gapY + columns.length * width + (columns.length - 1) * gapX, height: whole };
}

// The longest way from somebody whom nobody calls. Depth-first: a call back to one that is on the way is left out.
function depths(names, callees) {
  const depth = new Map(names.map((n) => [n, 0]));
  const called = new Set([...callees.values()].flat());
  const onTheWay = new Set();
  const done = new Set();
  const sorted = [];
  const kept = new Map(names.map((n) => [n, []]));
  const visit = (name) => {
    if (done.has(name)) return;
    done.add(name);
    onTheWay.add(name);
    for (const next of callees.get(name)) {
      if (onTheWay.has(next)) continue;
      kept.get(name).push(next);
      visit(next);
    }
    onTheWay.delete(name);
    sorted.unshift(name);
  };
  for (const name of names) if (!called.has(name)) visit(name);
  for (const name of names) visit(name);
  for (const name of sorted) for (const next of kept.get(name)) depth.set(next, Math.max(depth.get(next), depth.get(name) + 1));
  return depth;
}

function middle(values) {
  const known = values.filter((v) => v !== undefined);
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : 0;
}

function curve(from, to, width, height) {
  const [x1, y1] = [from.x + width, from.y + height / 2];
  const [x2, y2] = [to.x, to.y + height / 2];
  const bend = Math.max(30, Math.abs(x2 - x1) / 2);
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}
