// To be drawn.

import { h, say } from "../dom.js";

export const title = "Incidents";

export function mount(root, context) {
  const words = h("p");
  root.append(h("h1", {}, title), words);
  return {
    update(state) {
      say(words, state ? `tick ${state.tick}` : "nothing yet");
    },
    unmount() {},
  };
}
