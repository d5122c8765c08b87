// Figures as people read them. Unknown is a dash and never 0.

export const UNKNOWN = "–";

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

// Three significant digits: 0.0123, 1.23, 12.3, 123, 12,345.
export function number(value) {
  if (!known(value)) return UNKNOWN;
  const size = Math.abs(value);
  if (size >= 100 || value === 0) return Math.round(value).toLocaleString("en");
  return value.toPrecision(3).replace(/\.?0+$/, "");
}

export function seconds(value) {
  if (!known(value)) return UNKNOWN;
  const size = Math.abs(value);
  if (size >= 5400) return number(value / 3600) + " h";
  if (size >= 90) return number(value / 60) + " min";
  if (size >= 1) return number(value) + " s";
  if (size >= 0.001) return number(value * 1000) + " ms";
  return size === 0 ? "0 ms" : number(value * 1e6) + " µs";
}

export const percent = (share) => (known(share) ? number(share * 100) + " %" : UNKNOWN);

export const perSecond = (value) => (known(value) ? number(value) + "/s" : UNKNOWN);

// "12 % (8 to 15 %)"; of a share, with its interval.
export function within(value, low, high) {
  if (!known(value)) return UNKNOWN;
  return known(low) && known(high) ? `${percent(value)} (${number(low * 100)} to ${percent(high)})` : percent(value);
}

export const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");

export const dateAndClock = (at) => new Date(at * 1000).toISOString().slice(0, 10) + " " + clock(at);

export const ago = (at, now) => seconds(Math.max(0, now - at)) + " ago";
