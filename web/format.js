// Numbers, times and windows as people read them. All times are UTC, as everywhere in flowdiff.

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const PROTOCOLS = {
  1: "ICMP",
  2: "IGMP",
  4: "IPv4",
  6: "TCP",
  17: "UDP",
  41: "IPv6",
  47: "GRE",
  50: "ESP",
  51: "AH",
  58: "ICMPv6",
  89: "OSPF",
  132: "SCTP",
};

export const count = (number) => whole.format(number);

/** `3 rows`, `1 row`. */
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** Bytes in decimal units: `1.57 MB`. */
export function bytes(number) {
  const power = number === 0 ? 0 : Math.min(Math.floor(Math.log10(Math.abs(number)) / 3), UNITS.length - 1);
  return `${short.format(number / 1000 ** power)} ${UNITS[power]}`;
}

export const protocol = (number) => PROTOCOLS[number] ?? String(number);

const two = (number) => String(number).padStart(2, "0");

/** `20 Nov 12:05`, with seconds if asked. */
export function time(instant, seconds = false) {
  const date = new Date(instant);
  const clock = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}${seconds ? `:${two(date.getUTCSeconds())}` : ""}`;
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${clock}`;
}

/** `2026-11-20T12:00Z`, as windows are written in addresses. */
export const minute = (instant) => new Date(instant).toISOString().replace(/:\d\d\.\d+Z$/, "Z");

/** `1 h`, `2 d`, `90 min`. */
export function width(milliseconds) {
  const minutes = Math.round(milliseconds / 60000);
  if (minutes % 1440 === 0) return `${minutes / 1440} d`;
  return minutes % 60 === 0 ? `${minutes / 60} h` : `${minutes} min`;
}

/** `45 s`, `31 min`, `2.5 h`, `12 d`. */
export function duration(seconds) {
  const units = [
    ["d", 86400],
    ["h", 3600],
    ["min", 60],
  ];
  const [unit, length] = units.find(([, length]) => seconds >= 2 * length) ?? ["s", 1];
  return `${whole.format(Math.round((seconds / length) * 10) / 10)} ${unit}`;
}

/** `20 Nov 2026, 12:00 to 13:00 (1 h)`; both days where they are not the same. */
export function span(start, stop) {
  const [from, to] = [new Date(start), new Date(stop)];
  const day = (date) => `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
  const clock = (date) => `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
  const end = day(from) === day(to) ? clock(to) : `${day(to)}, ${clock(to)}`;
  return `${day(from)}, ${clock(from)} to ${end} (${width(stop - start)})`;
}
