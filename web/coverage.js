// Windows as elements: what one covers, and what to do where there is none.

import { el, notice } from "./dom.js";
import { facts, troubles } from "./windows.js";

/** The counters of a window and what it lacks; nothing without a window. */
export function coverage(window) {
  if (!window) return [];
  const lacks = troubles(window);
  return [
    el(
      "dl",
      {},
      facts(window).map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))),
    ),
    lacks.length
      ? el(
          "ul",
          { class: "troubles" },
          lacks.map(({ sign, text }) => el("li", {}, el("b", { "aria-hidden": "true" }, sign), ` ${text}`)),
        )
      : el("p", { class: "whole" }, el("b", { "aria-hidden": "true" }, "✓"), " coverage is whole"),
  ];
}

/** That the store has no windows, and how it gets some. */
export const nothingPublished = () =>
  notice(
    "info",
    "Nothing is published in this store yet.",
    el(
      "p",
      {},
      "Build windows with ",
      el("code", {}, "flowdiff backfill --from -1d --to now"),
      ", keep them up to date with ",
      el("code", {}, "flowdiff follow"),
      ", or look at sample data first: ",
      el("code", {}, "flowdiff demo"),
      ".",
    ),
  );
