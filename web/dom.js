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

/** Gives a select these options, `[value, text]` each. Those that stay are the same elements, so that a list that somebody
 * has open stays as it is. */
export function options(select, wanted) {
  const values = new Set(wanted.map(([value]) => value));
  for (const option of [...select.options]) if (!values.has(option.value)) option.remove();
  const known = new Map([...select.options].map((option) => [option.value, option]));
  for (const [place, [value, text]] of wanted.entries()) {
    const option = known.get(value) ?? el("option", { value });
    if (option.textContent !== text) option.textContent = text;
    if (select.options[place] !== option) select.insertBefore(option, select.options[place] ?? null);
  }
}

/** Calls `action` once, when it was not asked for again for `milliseconds`. */
export function settled(milliseconds, action) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), milliseconds);
  };
}
