// The rows of a diff as a table: sorted by its header, so many rows at a time, and it says how many.

import { $, el } from "./dom.js";
import { bytes, count, counted, protocol, time } from "./format.js";
import { SIGNS, sorted } from "./rows.js";

/** Rows that are added to the page at a time. */
const PAGE = 200;

const counter = (name, written) => (row) => {
  const [before, after] = row.sides[name];
  const text =
    row.change === "changed"
      ? `${written(before)} → ${written(after)}`
      : `${SIGNS[row.change]}${written(Math.max(before, after))}`;
  return el("span", { title: `${count(before)} → ${count(after)} ${name}` }, text);
};
const port = (name) => (row) =>
  row[name] ? String(row[name]) : el("span", { class: "muted", title: "an ephemeral port, or none" }, "*");
const code = (name) => (row) => el("code", {}, row[name]);
const seen = (name) => (row) => el("time", { datetime: row[name], title: row[name] }, time(row[name], true));

/** Columns: what to sort by, header, cell. A grain shows those that its rows have. */
const COLUMNS = [
  [
    "change",
    "Change",
    (row) =>
      el(
        "span",
        { class: `change ${row.change}` },
        el("b", { "aria-hidden": "true" }, SIGNS[row.change]),
        ` ${row.change}`,
      ),
  ],
  [
    "evidence",
    "Evidence",
    (row) =>
      el(
        "span",
        { class: row.evidence.startsWith("unobserved") ? "unobserved" : null },
        row.evidence.replace("_", " "),
      ),
  ],
  ["account_id", "Account", code("account_id")],
  ["interface_id", "Interface", code("interface_id")],
  ["srcaddr", "Source", code("srcaddr")],
  ["srcport", "Port", port("srcport"), true],
  ["dstaddr", "Destination", code("dstaddr")],
  ["dstport", "Port", port("dstport"), true],
  ["protocol", "Protocol", (row) => protocol(row.protocol)],
  ["action", "Action", (row) => row.action],
  ["moved", "Bytes", counter("bytes", bytes), true],
  ["packets", "Packets", counter("packets", count), true],
  ["flows", "Flows", counter("flows", count), true],
  ["first_seen", "First seen", seen("first_seen")],
  ["last_seen", "Last seen", seen("last_seen")],
];
/** Columns that are best read from their largest value first. */
const DESCENDING = new Set(["moved", "packets", "flows", "last_seen"]);

export class Table {
  #rows = [];
  #written = 0;

  /** `sort(order)` is called for a header that was pressed; `explain(row)` gives the address of a row's records, or null. */
  constructor({ sort, explain, open }) {
    Object.assign(this, { sort, explain, open });
    this.table = $("rows");
    this.body = el("tbody");
    $("more").addEventListener("click", () => this.#append());
  }

  /** Shows `rows` of `all` in an order. */
  show(rows, all, order) {
    const sample = rows[0] ?? all[0] ?? {};
    this.columns = COLUMNS.filter(([name]) => name === "moved" || name in sample);
    this.#rows = sorted(rows, order);
    this.#written = 0;
    this.all = all.length;
    this.body.replaceChildren();
    const head = el(
      "thead",
      {},
      el(
        "tr",
        {},
        this.columns.map((column) => this.#header(column, order)),
        el("th", { scope: "col" }, "Records"),
      ),
    );
    this.table.replaceChildren(this.table.caption, ...(all.length ? [head, this.body] : []));
    this.#append();
  }

  #header([name, title, , isNumber], order) {
    const isSorted = order.replace("-", "") === name;
    const isDescending = isSorted && order.startsWith("-");
    const next = isSorted ? (isDescending ? name : `-${name}`) : DESCENDING.has(name) ? `-${name}` : name;
    const label = name === "srcport" ? "Source port" : name === "dstport" ? "Destination port" : null;
    return el(
      "th",
      {
        scope: "col",
        class: isNumber ? "number" : null,
        "aria-sort": isSorted ? (isDescending ? "descending" : "ascending") : null,
      },
      el(
        "button",
        { type: "button", "aria-label": label, "data-sort": name, click: () => this.sort(next) },
        title,
        el("i", { "aria-hidden": "true" }, isSorted ? (isDescending ? " ▼" : " ▲") : ""),
      ),
    );
  }

  #append() {
    const next = this.#rows.slice(this.#written, this.#written + PAGE);
    const isFurther = this.#written > 0;
    this.#written += next.length;
    const lines = next.map((row) => this.#line(row));
    this.body.append(...lines);
    if (isFurther) lines[0]?.querySelector("a")?.focus();
    const found = this.#rows.length;
    const of = found === this.all ? "" : `, of ${counted(this.all, "row")} in all`;
    $("shown").textContent =
      this.#written < found
        ? `showing the first ${count(this.#written)} of ${counted(found, "row")}${of}`
        : `showing ${counted(found, "row")}${of}`;
    const left = found - this.#written;
    $("more").hidden = left === 0;
    $("more").textContent = `Show ${count(Math.min(PAGE, left))} more`;
  }

  #line(row) {
    const cells = this.columns.map(([, , cell, isNumber]) =>
      el("td", { class: isNumber ? "number" : null }, cell(row)),
    );
    const href = this.explain(row);
    const link =
      href &&
      el(
        "a",
        {
          href,
          "aria-label": `Raw records of ${row.srcaddr} to ${row.dstaddr}`,
          click: (event) => this.#open(event, href, row),
        },
        "explain",
      );
    return el("tr", { class: row.change }, cells, el("td", {}, link));
  }

  #open(event, href, row) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.open(href, row);
  }
}
