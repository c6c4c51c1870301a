// Published windows: their names, their coverage in words, lanes with gaps, which pair to begin with. Pure.

import { bytes, count, counted, duration, minute, span, time, width } from "./format.js";

/** Lanes that the time line draws; windows of still other widths share the last one, which shows no gaps. */
const LANES_MAX = 6;
const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000];

const name = (start, stop) => `${minute(start)}/${minute(stop)}`;

/** A row of `GET /v1/windows` with its name and its times as numbers. */
export function prepare(row) {
  const [start, stop] = [Date.parse(row.window_start), Date.parse(row.window_stop)];
  return { ...row, start, stop, width: stop - start, id: name(start, stop), published: Date.parse(row.published) };
}

const greatest = (windows, by) =>
  windows.reduce((best, window) => (!best || window[by] > best[by] ? window : best), null);

const isFinal = (window) => window.state === "final";

/** Windows that end after this may have changed since they were told: those of the last day, those that are open, and
 * those with the names `looked`; `null` where none is known. A late object for any other is seen with the next load. */
export function since(windows, looked) {
  if (!windows.length) return null;
  const open = windows.filter((window) => !isFinal(window) || looked.includes(window.id));
  return open.reduce((from, window) => Math.min(from, window.start), greatest(windows, "stop").stop - DAY);
}

/** What is known with all windows that end after `from` as they were told now. */
export function merged(known, from, told) {
  const kept = known.filter((window) => from !== null && window.stop <= from);
  return [...kept, ...told].sort((a, b) => a.start - b.start || a.stop - b.stop);
}

/** How fresh the store is at `now`, in a sentence. */
export function freshness(windows, now) {
  const closed = greatest(windows.filter(isFinal), "stop");
  const open = greatest(
    windows.filter((window) => !isFinal(window)),
    "stop",
  );
  const behind = (window) =>
    window.lag_seconds === null ? "without a record yet" : lag(window).join(" ").toLowerCase();
  const age = Math.max(Math.round((now - greatest(windows, "published").published) / 1000), 0);
  return [
    closed && `newest closed window until ${time(closed.stop)}, ${behind(closed)}`,
    open && `newest open window until ${time(open.stop)}, ${behind(open)}`,
    `last published ${duration(age)} ago`,
  ]
    .filter(Boolean)
    .join("; ")
    .replace(/^./, (first) => first.toUpperCase());
}

/** Both ends of a window as an address may have it: a day, an hour, START/STOP or START/PT1H; `null` for what only the
 * service can tell, such as `PT1H/now`. */
function ends(text) {
  const [, day, hour] = text.match(/^(\d{4}-\d\d-\d\d)(?:T(\d\d))?$/) ?? [];
  const [, from, to] = text.match(/^([^/]+Z)\/([^/]+)$/) ?? [];
  const [isLong, days, hours, minutes] = to?.match(/^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?$/) ?? [];
  const start = Date.parse(day ? `${day}T${hour ?? "00"}:00Z` : from);
  const length = (days ?? 0) * DAY + (hours ?? 0) * HOUR + (minutes ?? 0) * MINUTE;
  const stop = day ? start + (hour ? HOUR : DAY) : isLong ? start + length : Date.parse(to);
  return stop > start ? [start, stop] : null;
}

/** The pair of an address by the names that windows have here; `previous` is as wide as `after` and ends where it begins. */
export function named({ before, after }) {
  const [first, last] = [ends(before), ends(after)];
  const previous = before === "previous" && last ? name(2 * last[0] - last[1], last[0]) : before;
  return { before: first ? name(...first) : previous, after: last ? name(...last) : after };
}

/** What a window's coverage lacks: a sign, what to call it, and why it matters. */
export function troubles(window) {
  const found = [];
  const add = (sign, text) => found.push({ sign, text });
  if (!isFinal(window)) add("◐", "provisional: more may come");
  const unread = window.objects_listed - window.objects_read - window.objects_set_aside;
  if (unread > 0) add("▲", `${counted(unread, "object")} listed but not read`);
  if (window.objects_set_aside) add("▲", `${counted(window.objects_set_aside, "object")} set aside`);
  if (window.lines_refused) add("▲", `${counted(window.lines_refused, "line")} refused`);
  if (window.silent_flow_logs) add("○", `${counted(window.silent_flow_logs, "flow log")} fell silent`);
  if (window.skipdata) add("≈", `${counted(window.skipdata, "SKIPDATA record")}: flows were lost`);
  return found;
}

/** The part of the listed objects that was read. */
export const readPart = (window) => (window.objects_listed ? window.objects_read / window.objects_listed : 1);

export const title = (window) => span(window.start, window.stop);

/** A window in a sentence, for the line below the time line and for screen readers. */
export function sentence(item) {
  if (item.isGap) return `Gap: nothing published from ${span(item.start, item.stop)}`;
  const lacks = troubles(item).map(({ text }) => text);
  return `${title(item)}: ${item.state}, version ${item.version}, ${counted(item.edges, "edge")}, ${counted(item.flows, "flow")}, ${bytes(item.bytes)}; ${lacks.join("; ") || "coverage is whole"}`;
}

/** The counters of a window as pairs of a name and a text. */
export function facts(window) {
  return [
    ["Edges", count(window.edges)],
    ["Flows", count(window.flows)],
    ["Bytes", bytes(window.bytes)],
    ["Interfaces", count(window.interfaces)],
    ["Objects read", `${count(window.objects_read)} of ${count(window.objects_listed)}`],
    ["Version", `${window.version}, ${window.state}`],
    lag(window),
  ];
}

/** How far behind its newest record a window was when it was published; once it is final, how long after its stop. */
function lag({ state, lag_seconds }) {
  return [state === "final" ? "Final after" : "Behind by", lag_seconds === null ? "unknown" : duration(lag_seconds)];
}

/** Lanes of the time line, narrow windows first: `{ name, width, items }`, the items with the gaps between them. */
export function lanes(windows) {
  const widths = [...new Set(windows.map((window) => window.width))].sort((a, b) => a - b);
  const own = widths.slice(0, widths.length > LANES_MAX ? LANES_MAX - 1 : LANES_MAX);
  const lanes = own.map((of) => ({
    name: width(of),
    width: of,
    items: withGaps(windows.filter((window) => window.width === of)),
  }));
  const others = windows.filter((window) => !own.includes(window.width));
  if (others.length) lanes.push({ name: "other", width: null, items: others });
  return lanes;
}

function withGaps(windows) {
  const items = [];
  let end = null;
  for (const window of windows.toSorted((a, b) => a.start - b.start)) {
    if (end !== null && window.start > end)
      items.push({
        isGap: true,
        id: `gap ${minute(end)}/${minute(window.start)}`,
        start: end,
        stop: window.start,
        width: window.width,
      });
    items.push(window);
    end = Math.max(end ?? window.stop, window.stop);
  }
  return items;
}

/** The windows of one width that a gap lacks, `most` at most. */
export function missing(gap, most) {
  const names = [];
  for (let start = gap.start; start + gap.width <= gap.stop && names.length < most; start += gap.width) {
    names.push(name(start, start + gap.width));
  }
  return names;
}

/** The newest window that ends where `after` begins, of the same width if there is one; else the newest before it. */
function precedes(windows, after) {
  const earlier = windows.filter((window) => window.width === after.width && window.stop <= after.start);
  return earlier.reduce((best, window) => (!best || window.stop > best.stop ? window : best), null);
}

/** The pair to begin with: the newest two adjacent windows of one width, narrow ones first; else the newest of a width. */
export function newestPair(windows) {
  const newest = windows.toSorted((a, b) => b.stop - a.stop || a.width - b.width);
  const pairs = newest.map((after) => [precedes(windows, after), after]).filter(([before]) => before);
  return pairs.find(([before, after]) => before.stop === after.start) ?? pairs[0] ?? null;
}
