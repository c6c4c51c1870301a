// Elements from data. Text becomes text nodes and attributes, never markup: what flow logs hold may be hostile.

/** An element: properties that are functions become listeners, the rest attributes; `false` and `null` are left out. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** The element of the page with an id. */
export const $ = (id) => document.getElementById(id);

/** Text whose parts between backticks are code. */
export const written = (text) => text.split("`").map((part, place) => (place % 2 ? el("code", {}, part) : part));

/** A box that says something: `kind` is `info` or `error`. */
export function notice(kind, title, ...children) {
  return el(
    "div",
    { class: `notice ${kind}`, role: kind === "error" ? "alert" : null },
    el("strong", {}, title),
    ...children,
  );
}

/** Calls `action` once, when it was not asked for again for `milliseconds`. */
export function settled(milliseconds, action) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), milliseconds);
  };
}
