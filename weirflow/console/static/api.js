// What is asked of the brain. The token, where one is needed, stays in this tab and goes with every request.

const KEY = "weirflow.token";
const SILENT_MS = 15000; // the server says something every 5 s: after three of them the connection is taken for dead
const RETRY_MS = [500, 1000, 2000, 5000];

export class Refused extends Error {
  constructor(status, error, mend) {
    super(error);
    this.status = status;
    this.mend = mend || "";
  }
}

export const token = () => sessionStorage.getItem(KEY) || "";

export function setToken(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

function headers(more = {}) {
  return token() ? { Authorization: "Bearer " + token(), ...more } : more;
}

async function answer(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    body = { error: `answered ${response.status} and no JSON` };
  }
  if (!response.ok) throw new Refused(response.status, body.error || `status ${response.status}`, body.mend);
  return body;
}

export async function get(path, query = {}) {
  const told = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  const tail = told.length ? "?" + new URLSearchParams(told) : "";
  return answer(await fetch(path + tail, { headers: headers() }));
}

export async function post(path, body, signal) {
  const options = { method: "POST", headers: headers({ "Content-Type": "application/json", "X-Weirflow-Who": "console" }), body: JSON.stringify(body), signal };
  return answer(await fetch(path, options));
}

// Server-sent events over fetch, which unlike EventSource can show a token. `onState(document)` at every tick;
// `onLine("live" | "lost", why)`. Goes on until the returned function is called: a stream that drops is opened again.
export function stream(onState, onLine) {
  let stopped = false;
  let controller = null;
  let failures = 0;

  async function once() {
    controller = new AbortController();
    const silence = { timer: null };
    const heard = () => {
      clearTimeout(silence.timer);
      silence.timer = setTimeout(() => controller.abort(), SILENT_MS);
    };
    heard();
    try {
      const response = await fetch("api/events", { headers: headers(), signal: controller.signal, cache: "no-store" });
      if (!response.ok) await answer(response);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        heard();
        rest += value;
        const parts = rest.split("\n\n");
        rest = parts.pop();
        for (const part of parts) {
          const data = part.split("\n").filter((line) => line.startsWith("data: "));
          if (!data.length) continue;
          failures = 0;
          onLine("live", "");
          onState(JSON.parse(data.map((line) => line.slice(6)).join("\n")));
        }
      }
    } finally {
      clearTimeout(silence.timer);
    }
  }

  async function forever() {
    while (!stopped) {
      let why = "the brain closed the stream";
      let status = 0;
      try {
        await once();
      } catch (error) {
        why = error.name === "AbortError" ? "nothing came for 15 s" : error.message;
        status = error.status || 0;
      }
      if (stopped) return;
      onLine("lost", why, status);
      await new Promise((wake) => setTimeout(wake, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]));
    }
  }

  forever();
  return () => {
    stopped = true;
    if (controller) controller.abort();
  };
}
