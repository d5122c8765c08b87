// uPlot with the console's colours: lines over time, and bands between two of them.

import uPlot from "./vendor/uPlot.esm.js";
import { clock } from "./words.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// `series`: [{label, colour: "--adaptive", dash, band: [low, high] as indexes of series}]; `data`: [at, ...columns].
// `read(value)` words a value on the axis and in the legend. `pick(from, to)`: a stretch of time was dragged over.
// Returns {update(data), select(from, to), destroy()}; `select(null)` selects nothing.
export function chart(root, { series, read, height = 200, zero = true, mark = () => null, pick = null }) {
  const lines = series.map((s) => ({
    label: s.label,
    stroke: colour(s.colour),
    width: s.width ?? 1.5,
    dash: s.dash,
    points: { show: false },
    spanGaps: false,
    value: (_, value) => (value === null || value === undefined ? "–" : read(value)),
  }));
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
  const bands = series.flatMap((s, i) => (s.band ? [{ series: [s.band[1] + 1, s.band[0] + 1], fill: colour("--band") }] : []));
  const plot = new uPlot(
    {
      width: Math.max(200, root.clientWidth),
      height,
      scales: { x: { time: true }, y: { range: (_, low, high) => [zero ? Math.min(0, low) : low, high > low ? high * 1.08 : low + 1] } },
      axes: [{ ...axis, space: 84, values: (_, at) => at.map(clock) }, { ...axis, size: 64, values: (_, values) => values.map(read) }],
      series: [{ label: "time", value: (_, at) => (at === null ? "–" : clock(at)) }, ...lines],
      bands,
      cursor: { drag: { x: Boolean(pick), y: false, setScale: false } },
      hooks: {
        setSelect: [(u) => pick && pick(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"))],
        draw: [
          (u) => {
            const at = mark();
            if (at === null) return;
            const x = Math.round(u.valToPos(at, "x", true));
            u.ctx.save();
            u.ctx.strokeStyle = colour("--warn");
            u.ctx.beginPath();
            u.ctx.moveTo(x, u.bbox.top);
            u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
            u.ctx.stroke();
            u.ctx.restore();
          },
        ],
      },
    },
    [[], ...series.map(() => [])],
    root,
  );
  let chosen = [null, null];
  const select = (from, to) => {
    chosen = [from, to];
    const left = from === null ? 0 : plot.valToPos(from, "x");
    const width = from === null ? 0 : plot.valToPos(to, "x") - left;
    plot.setSelect({ left, width, top: 0, height: plot.over.clientHeight }, false);
  };
  const sized = new ResizeObserver(() => {
    plot.setSize({ width: Math.max(200, root.clientWidth), height });
    if (pick) select(...chosen);
  });
  sized.observe(root);
  return {
    update: (data) => plot.setData(data),
    select,
    destroy() {
      sized.disconnect();
      plot.destroy();
    },
  };
}

// A line far above all that matters would press the rest flat: it is left out then, as the words beside it have it.
export function near(value, others, times = 3) {
  const most = Math.max(0, ...others.filter((o) => o !== null && o !== undefined));
  return value !== null && value !== undefined && value <= times * most ? value : null;
}
