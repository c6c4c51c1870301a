// The raw records behind a row, in a dialog.

import { $, el, notice } from "./dom.js";
import { address, json, save } from "./api.js";
import { counted } from "./format.js";

const RECORDS_MAX = 200;

/** Where the records of a row are; `null` for rows without addresses. They lie in the window that has the edge. */
export function explainAddress(row, { before, after }) {
  const window = row.change === "removed" ? before : after;
  // Which one is the previous, the page cannot always tell.
  if (row.srcaddr === undefined || window === "previous") return null;
  return address("v1/explain", {
    window,
    srcaddr: row.srcaddr,
    dstaddr: row.dstaddr,
    port: row.dstport || row.srcport || "",
    protocol: row.protocol ?? "",
    interface_id: row.interface_id ?? "",
    limit: RECORDS_MAX,
  });
}

export async function showRecords(href, row) {
  const body = $("explain-body");
  $("explain-title").textContent = `Raw records: ${row.srcaddr} → ${row.dstaddr}`;
  body.replaceChildren(el("p", { role: "status" }, "Reading the flow logs…"));
  $("explain-dialog").showModal();
  try {
    const records = await json(href);
    body.replaceChildren(...view(records, href));
  } catch (problem) {
    body.replaceChildren(notice("error", problem.message, problem.hint && el("p", {}, problem.hint)));
  }
}

function view(records, href) {
  if (!records.length) return [el("p", {}, "No record of these logs has these addresses any more.")];
  const names = Object.keys(records[0]);
  const said =
    records.length < RECORDS_MAX ? counted(records.length, "record") : `the first ${counted(RECORDS_MAX, "record")}`;
  return [
    el(
      "p",
      {},
      said,
      ", by object and line. ",
      el("button", { type: "button", click: () => save(`${href}&format=csv`, "records.csv") }, "Save as CSV"),
    ),
    el(
      "div",
      { class: "table-scroll", role: "region", "aria-label": "Raw records", tabindex: 0 },
      el(
        "table",
        {},
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            names.map((name) => el("th", { scope: "col" }, name.replaceAll("_", " "))),
          ),
        ),
        el(
          "tbody",
          {},
          records.map((record) =>
            el(
              "tr",
              {},
              names.map((name) => cell(name, record[name])),
            ),
          ),
        ),
      ),
    ),
  ];
}

/** Keys begin alike, so where they are cut off their end is shown. */
function cell(name, value) {
  const text = el("bdi", {}, String(value ?? ""));
  return el("td", { class: name === "object_key" ? "tail" : null }, el("code", { title: value }, text));
}
