// The rows of a diff: what moved, which rows a search takes, in which order. Pure.

import { network } from "./network.js";
import { protocol } from "./format.js";

export const CHANGES = ["added", "removed", "changed"];
/** A sign and a word for each change: colour is never alone. */
export const SIGNS = { added: "+", removed: "−", changed: "~" };

const COUNTERS = ["bytes", "packets", "flows"];

/** Puts what the page needs beside a row: counters of both sides, the bytes that moved. */
export function prepare(row) {
  const sides = {};
  for (const name of COUNTERS) {
    const after = row.change === "removed" ? 0 : row[name];
    const before = row.change === "added" ? 0 : (row[`${name}_before`] ?? row[name]);
    sides[name] = [before, after];
  }
  return { ...row, sides, moved: Math.abs(sides.bytes[1] - sides.bytes[0]) };
}

/** How many rows there are of each value of a column. */
export function tally(rows, column) {
  const counts = new Map();
  for (const row of rows) counts.set(row[column], (counts.get(row[column]) ?? 0) + 1);
  return counts;
}

const ENDS = { src: "srcaddr", dst: "dstaddr" };

/** One word of a search as a test of a row. What is whole, an address or a port, matches as a whole. */
function word(text) {
  const [, side, rest] = text.match(/^(src|dst):(.+)$/) ?? [null, null, text];
  const ends = side ? [ENDS[side]] : Object.values(ENDS);
  const inside = network(rest);
  const isWhole = /^\d+\.\d+\.\d+\.\d+$/.test(rest);
  const matches = inside ?? (isWhole ? (value) => value === rest : (value) => value.toLowerCase().includes(rest));
  const atEnd = (row) => ends.some((end) => row[end] !== undefined && matches(row[end]));
  if (side || inside || isWhole) return atEnd;
  if (/^\d{1,5}$/.test(rest)) return (row) => row.srcport === Number(rest) || row.dstport === Number(rest);
  return (row) =>
    atEnd(row) ||
    [row.interface_id, row.account_id, row.action, row.evidence].some((value) => value?.toLowerCase().includes(rest)) ||
    (row.protocol !== undefined && protocol(row.protocol).toLowerCase() === rest);
}

/** A test of a row: all words of the search, a change that is not hidden, the evidence. */
export function matcher({ q, hidden, evidence }) {
  const words = q.toLowerCase().split(/\s+/).filter(Boolean).map(word);
  return (row) =>
    !hidden.has(row.change) && (!evidence || row.evidence === evidence) && words.every((matches) => matches(row));
}

/** Rows in the order of a column, `-` before its name for descending; equal rows stay in key order. */
export function sorted(rows, order) {
  const [name, sign] = order.startsWith("-") ? [order.slice(1), -1] : [order, 1];
  const value =
    name in (rows[0]?.sides ?? {}) ? (row) => Math.abs(row.sides[name][1] - row.sides[name][0]) : (row) => row[name];
  return rows
    .map((row, place) => ({ row, place, value: value(row) }))
    .sort((a, b) => (compare(a.value, b.value) || 0) * sign || a.place - b.place)
    .map(({ row }) => row);
}

function compare(a, b) {
  if (a === b) return 0;
  if (a == null || b == null) return a == null ? 1 : -1;
  return a < b ? -1 : 1;
}
