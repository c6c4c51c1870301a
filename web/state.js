// What the page shows, kept in the address after `#`, so that a link shows the same. Values are text.

import { named } from "./windows.js";

const DEFAULTS = {
  before: "",
  after: "",
  by: "link",
  q: "",
  evidence: "",
  hide: "",
  sort: "-moved",
  open: "",
  min_bytes: "",
  ratio: "",
};

/** The state that the address says, defaults for the rest; names that are not known are left out. */
export function read() {
  const said = new URLSearchParams(location.hash.slice(1));
  const state = Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, said.get(name) ?? value]));
  return { ...state, ...named(state) };
}

/** Puts `state` into the address; `isStep` makes it a step that the back button takes back. */
export function write(state, isStep) {
  const said = new URLSearchParams(Object.entries(state).filter(([name, value]) => value !== DEFAULTS[name]));
  // Windows read better with their own signs, which a fragment may have.
  const hash = `#${said.toString().replaceAll("%3A", ":").replaceAll("%2F", "/").replaceAll("%2C", ",")}`;
  if (hash === (location.hash || "#")) return;
  history[isStep ? "pushState" : "replaceState"](null, "", hash);
}

/** The parts of a list in one value. */
export const parts = (value) => value.split(",").filter(Boolean);
