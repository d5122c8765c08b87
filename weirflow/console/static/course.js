// Figures over the last minutes: what the brain remembers, asked for once, and every tick since, as they come.

const WINDOW_S = 600;

export class Course {
  // `about`: {service, endpoint}; `figures`: names as in weirflow/console/past.py.
  constructor(context, about, figures, windowS = WINDOW_S) {
    this.context = context;
    this.windowS = windowS;
    this.about = about;
    this.figures = figures;
    this.around = undefined; // the moment that was asked around; null: live
    this.clear();
  }

  clear() {
    this.data = Object.fromEntries([["at", []], ...this.figures.map((f) => [f, []])]);
  }

  // A state document came. `read(figure)` tells a figure of it.
  add(state, read) {
    const { at } = this.context.route();
    if (this.around !== at) {
      this.around = at;
      this.clear();
      this.ask(at, at === null ? state.at : at);
    }
    if (at !== null) return; // the past does not grow
    const times = this.data.at;
    if (times.length && state.at <= times[times.length - 1]) return;
    times.push(state.at);
    for (const f of this.figures) this.data[f].push(read(f) ?? null);
    const most = 2 * this.windowS; // at a tick a second, and some that were asked for
    if (times.length > most) for (const column of Object.values(this.data)) column.splice(0, times.length - most);
  }

  async ask(at, moment) {
    const window = at === null ? { since: moment - this.windowS, until: moment } : { since: moment - this.windowS / 2, until: moment + this.windowS / 2 };
    let told;
    try {
      told = await this.context.get("api/history", { ...this.about, ...window });
    } catch {
      return; // nothing is remembered: the chart starts now
    }
    if (this.around !== at) return;
    const first = this.data.at.length ? this.data.at[0] : Infinity;
    const old = told.at.map((t, i) => [t, i]).filter(([t]) => t < first);
    for (const name of ["at", ...this.figures]) {
      this.data[name] = [...old.map(([t, i]) => (name === "at" ? t : (told[name] || [])[i] ?? null)), ...this.data[name]];
    }
  }
}

// A figure of a service in a state document, by the name that the past has for it.
export function ofService(s, figure) {
  const [, arm, name] = figure.match(/^(static|adaptive)_(.+)$/) || [];
  return arm ? s[arm][name] : s.capacity;
}
