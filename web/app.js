// The page: reads the address, asks the service, hands rows to the time line, the picture and the table.

import { $, el, notice, options, settled } from "./dom.js";
import { address, auth, Problem, request, rows as readRows, save } from "./api.js";
import { coverage, nothingPublished } from "./coverage.js";
import { count, counted, time } from "./format.js";
import { build, cancel, countJobs, jobView, watch } from "./jobs.js";
import { explainAddress, showRecords } from "./explain.js";
import { Picture } from "./picture.js";
import { Published, whileSeen } from "./published.js";
import { CHANGES, matcher, prepare as prepareRow, SIGNS, tally } from "./rows.js";
import { parts, read, write } from "./state.js";
import { Table } from "./table.js";
import { Timeline } from "./timeline.js";
import { freshness, missing, newestPair, sentence, title } from "./windows.js";

/** Rows that the page holds; a larger diff is better read by a program. */
const ROWS_MAX = 100_000;
/** Windows that one click on a gap asks for. */
const BUILD_MAX = 8;
/** How often the page asks what is new, in seconds. */
const ASK_EVERY = 30;
const SIDES = ["before", "after"];
const FORMATS = ["json", "ndjson", "csv", "parquet", "arrow", "dot", "graphml", "mermaid", "cytoscape"];
const FILE_ENDINGS = { cytoscape: "cyjs", mermaid: "mmd" };

let state = read();
/** Whether somebody has picked the pair; where nobody has, it is the newest. */
let isPicked = Boolean(state.before || state.after);
let published = new Published();
let windows = [];
/** The versions of the pair that the diff was asked for with; `null` where the service did not answer. */
let compared = [];
/** Since when the service has not answered; that it answers no more without a token. */
let failing = { since: null, isRefused: false };
/** The diff that is shown: its rows, and whether they are all. */
let diff = { rows: [], isWhole: true };
/** Which side the next click picks. */
let mode = "before";
/** Stops what was asked for a diff that is not wanted any more. */
let asked = new AbortController();

const timeline = new Timeline($("timeline"), {
  pick,
  pickGap,
  point: (item) => $("window-detail").replaceChildren(sentence(item)),
});
const table = new Table({
  sort: (sort) => (change({ sort }), refocus(sort)),
  explain: (row) => explainAddress(row, state),
  open: showRecords,
});
const picture = new Picture({ toggle, search: (q) => (change({ q }), $("q").focus()) });

// --- state -----------------------------------------------------------------------------------------------------------

/** Takes over new values; those that decide the diff ask for it anew and are a step of the history. */
function change(values) {
  const isStep = Object.keys(values).some((name) => [...SIDES, "by", "min_bytes", "ratio"].includes(name));
  isPicked ||= SIDES.some((side) => side in values);
  // Networks that were opened belong to the picture of one diff.
  state = { ...state, ...(isStep ? { open: "" } : {}), ...values };
  write(state, isStep);
  controls();
  if (isStep) load();
  else render();
}

addEventListener("popstate", () => {
  state = read();
  isPicked = Boolean(state.before || state.after);
  if (!state.after) defaults();
  controls();
  load();
});

/** The names of the pair to begin with. */
function newest() {
  const [before, after] = newestPair(windows) ?? [null, windows.at(-1)];
  return { before: before?.id ?? "", after: after?.id ?? "" };
}

function defaults() {
  const { before, after } = newest();
  state = { ...state, before: state.before || before, after: state.after || after };
}

function toggle(network) {
  const open = new Set(parts(state.open));
  if (!open.delete(network)) open.add(network);
  change({ open: [...open].join(",") });
}

// --- windows ---------------------------------------------------------------------------------------------------------

function pick(window, side = mode) {
  mode = side === "before" ? "after" : "before";
  change({ [side]: window.id });
}

function pickGap(gap) {
  const names = missing(gap, BUILD_MAX);
  const place = $("window-detail");
  const ask = async () => {
    try {
      const jobs = await Promise.all(names.map((name) => build([name])));
      for (const job of jobs) await follow(job, place, () => {});
      await start();
    } catch (problem) {
      fail(problem, place);
    }
  };
  const button = el("button", { type: "button", click: ask }, `Build ${counted(names.length, "window")} of it`);
  place.replaceChildren(sentence(gap), " ", names.length ? button : "");
}

/** Puts the pair into the controls of the page. */
function pair() {
  for (const side of SIDES) {
    const wanted = windows.toReversed().map((window) => [window.id, title(window)]);
    if (!state[side]) wanted.unshift(["", "none"]);
    else if (!find(side)) wanted.unshift([state[side], `${state[side]} (not published)`]);
    options($(side), wanted);
    if ($(side).value !== state[side]) $(side).value = state[side];
    $(`${side}-coverage`).replaceChildren(...coverage(find(side)));
  }
  timeline.mark({ before: state.before, after: state.after });
}

/** Puts the state into the controls of the page. */
function controls() {
  pair();
  document.querySelector(`#mode [value=${mode}]`).checked = true;
  for (const name of ["q", "by", "min_bytes", "ratio"]) {
    if ($(name).value !== state[name]) $(name).value = state[name];
  }
  document.querySelector(".more").open ||= Boolean(state.min_bytes || state.ratio);
}

/** The published window of a side, if there is one. */
const find = (side) => windows.find(({ id }) => id === state[side]);

// --- the diff --------------------------------------------------------------------------------------------------------

const parameters = () => ({
  before: state.before,
  after: state.after,
  by: state.by,
  min_bytes: state.min_bytes,
  ratio: state.ratio,
});

/** Asks for the diff of the state; where windows are not built yet, waits for the job and asks again. */
async function load() {
  asked.abort();
  asked = new AbortController();
  const { signal } = asked;
  compared = versions();
  diff = { rows: [], isWhole: true };
  formats();
  $("difference").classList.add("loading");
  $("news").replaceChildren();
  $("notice").replaceChildren();
  $("summary").textContent = "";
  try {
    if (!state.before || !state.after) return $("notice").replaceChildren(nothingToCompare());
    $("summary").textContent = "Comparing…";
    const response = await request(address("v1/diffs", { ...parameters(), format: "ndjson" }), { signal });
    if (response.status === 202) {
      $("summary").textContent = "Waiting for windows to be built.";
      $("difference").classList.add("bare");
      return await follow(
        await response.json(),
        $("notice"),
        start,
        Number(response.headers.get("Retry-After")),
        signal,
      );
    }
    const progress = settled(
      100,
      (number) =>
        signal.aborted ||
        diff.rows.length ||
        ($("summary").textContent = `Comparing… ${counted(number, "row")} so far`),
    );
    const answer = await readRows(response, ROWS_MAX, progress);
    diff = { rows: answer.rows.map(prepareRow), isWhole: answer.isWhole };
    if (!diff.isWhole) {
      $("notice").replaceChildren(
        notice(
          "info",
          `The diff has more than ${count(ROWS_MAX)} rows.`,
          el(
            "p",
            {},
            "These are the first of them, in the order of the key. Compare by host, narrow it with the thresholds, or take the whole of it in another format below.",
          ),
        ),
      );
    }
  } catch (problem) {
    if (signal.aborted) return;
    if (problem.status === 0) compared = null;
    $("summary").textContent = "";
    fail(problem, $("notice"));
  } finally {
    if (!signal.aborted) {
      $("difference").classList.remove("loading");
      render();
    }
  }
}

function nothingToCompare() {
  if (!windows.length) return notice("info", "Nothing to compare yet.");
  return notice("info", "A diff needs two windows.", el("p", {}, "Pick one as before and one as after."));
}

/** Shows how a job goes on in `place`, then does what it was for. */
async function follow(job, place, then, seconds, signal = new AbortController().signal) {
  const stop = () => cancel(job).catch((problem) => fail(problem, place));
  try {
    const view = jobView(stop);
    place.replaceChildren(view.element);
    const over = await watch(job, seconds, view.show, signal);
    if (over.status === "done") return await then();
    $("summary").textContent = "";
    const again = () =>
      build(over.windows).then(
        (job) => follow(job, place, then),
        (problem) => fail(problem, place),
      );
    place.replaceChildren(
      notice(
        "error",
        `${over.windows.join(" and ")}: ${over.status}.`,
        over.error && el("p", {}, over.error.message, over.error.hint && ` (${over.error.hint})`),
        el("p", {}, el("button", { type: "button", click: again }, "Build anew")),
      ),
    );
  } catch (problem) {
    if (!signal.aborted) fail(problem, place);
  }
}

function fail(problem, place) {
  if (!(problem instanceof Problem)) console.error(problem);
  const near = (problem.nearest ?? []).map((item) => item.window ?? item).filter((item) => typeof item === "string");
  place.replaceChildren(
    notice(
      "error",
      problem.message,
      problem.hint && el("p", {}, problem.hint),
      near.length > 0 &&
        el(
          "p",
          {},
          "Published nearby: ",
          near.map((id) =>
            el(
              "button",
              {
                type: "button",
                click: () => change({ [windows.some((known) => known.id === state.after) ? "before" : "after"]: id }),
              },
              id,
            ),
          ),
        ),
      problem.requestId && el("p", { class: "muted" }, "Request ", el("code", {}, problem.requestId)),
      el("p", {}, el("button", { type: "button", click: start }, "Try again")),
    ),
  );
}

/** Shows the rows that the filters take. */
function render() {
  const { rows } = diff;
  const hidden = new Set(parts(state.hide));
  const matches = matcher({ q: state.q, hidden, evidence: state.evidence });
  const shown = rows.filter(matches);
  const changes = tally(rows, "change");
  // Where there is no diff there is nothing to filter; the notice says why.
  $("difference").classList.toggle("bare", !rows.length && $("notice").hasChildNodes());
  filters(changes, hidden);
  if (rows.length || !$("difference").classList.contains("loading")) summary(changes);
  table.show(shown, rows, state.sort);
  picture.show(shown, new Set(parts(state.open))).catch((error) => fail(error, $("notice")));
}

function summary(changes) {
  if ($("notice").firstChild && !diff.rows.length) return;
  const unobserved = diff.rows.filter((row) => row.evidence.startsWith("unobserved")).length;
  const said = CHANGES.filter((name) => changes.get(name)).map((name) => `${count(changes.get(name))} ${name}`);
  const beyond = diff.isWhole ? "" : " in the first of it";
  $("summary").textContent = said.length
    ? `${said.join(", ")}${beyond}${unobserved ? `; ${count(unobserved)} of them where nobody watched` : ""}`
    : "No difference: both windows have the same.";
}

function filters(changes, hidden) {
  const chip = (name) =>
    el(
      "label",
      { class: `change ${name}` },
      el("input", {
        type: "checkbox",
        value: name,
        checked: !hidden.has(name),
        change: () => (
          change({ hide: CHANGES.filter((other) => (other === name) !== hidden.has(other)).join(",") }),
          document.querySelector(`#change [value=${name}]`).focus()
        ),
      }),
      el("b", { "aria-hidden": "true" }, SIGNS[name]),
      ` ${name} `,
      el("span", { class: "muted" }, count(changes.get(name) ?? 0)),
    );
  $("change").replaceChildren($("change").querySelector("legend"), ...CHANGES.map(chip));
  const found = [...tally(diff.rows, "evidence")];
  if (state.evidence && !found.some(([name]) => name === state.evidence)) found.push([state.evidence, 0]);
  $("evidence").replaceChildren(
    el("option", { value: "" }, "any"),
    ...found.map(([name, number]) => el("option", { value: name }, `${name.replace("_", " ")} (${count(number)})`)),
  );
  $("evidence").value = state.evidence;
}

/** Links to the whole diff in every format; with a token they are fetched, because a link cannot send it. */
function formats() {
  const isReady = state.before && state.after;
  const link = (format) => {
    const href = address("v1/diffs", { ...parameters(), format });
    const name = `diff.${FILE_ENDINGS[format] ?? format}`;
    const fetched = (event) => {
      if (!auth.token) return;
      event.preventDefault();
      save(href, name).catch((problem) => fail(problem, $("notice")));
    };
    return el("a", { href, download: name, click: fetched }, format);
  };
  $("formats").replaceChildren(...(isReady ? ["The whole diff as ", ...FORMATS.map(link)] : []));
}

/** The header is drawn anew for another order: the button that was pressed keeps the focus. */
function refocus(sort) {
  document.querySelector(`[data-sort="${sort.replace("-", "")}"]`)?.focus();
}

// --- start -----------------------------------------------------------------------------------------------------------

async function start() {
  $("windows-notice").replaceChildren();
  try {
    await published.load();
  } catch (problem) {
    // What is asked next is asked as if for the first time.
    published = new Published();
    failing.isRefused = problem.status === 401;
    $("windows").classList.add("empty");
    return fail(problem, $("windows-notice"));
  }
  countJobs();
  await begin();
}

/** Shows the windows as they are told at first. */
async function begin() {
  present();
  $("window-detail").replaceChildren("Point at a window for its coverage.");
  $("token-change").hidden = !auth.token;
  timeline.load(windows);
  defaults();
  controls();
  if (windows.length || state.after) await load();
}

/** Takes over the windows that were told, and says how many and how fresh they are. */
function present() {
  windows = published.windows;
  answered();
  $("windows").classList.toggle("empty", !windows.length);
  $("difference").hidden = !windows.length && !state.after;
  $("store").textContent = windows.length ? `${counted(windows.length, "window")} published` : "";
  $("windows-notice").replaceChildren(windows.length ? "" : nothingPublished());
}

// --- what is new -----------------------------------------------------------------------------------------------------

/** Asks what is new, and shows it beside what is looked at. */
async function refresh() {
  if (failing.isRefused) return;
  const isFirst = !published.windows?.length;
  try {
    const isNew = await published.renew([state.before, state.after]);
    answered();
    countJobs();
    if (isNew && isFirst) return void begin();
    if (isNew) {
      present();
      timeline.update(windows);
      pair();
    }
    catchUp();
  } catch (problem) {
    failed(problem);
  }
}

function answered() {
  failing = { since: null, isRefused: false };
  $("unreachable").textContent = "";
  $("freshness").textContent = published.windows.length ? freshness(published.windows, published.told) : "";
}

/** Says in a line that there is no answer; the page goes on asking, unless for want of a token. */
function failed(problem) {
  if (!(problem instanceof Problem)) console.error(problem);
  failing = { since: failing.since ?? Date.now(), isRefused: problem.status === 401 };
  if (failing.isRefused) return fail(problem, $("windows-notice"));
  const what = problem.status ? `cannot answer (${problem.message})` : "cannot be reached";
  $("unreachable").textContent =
    `The service ${what} since ${time(failing.since)} UTC; it is asked again every ${ASK_EVERY} seconds.`;
}

const versions = () => SIDES.map((side) => find(side)?.version);

/** Whether nobody is at work: nothing is picked, searched or sorted, and nothing has the focus or is marked. */
const isUnattended = () =>
  location.hash.length < 2 && document.activeElement.matches("body, section") && getSelection().isCollapsed;

/** Shows what is newer than the diff at once where nobody is at work on the page; else says that there is something. */
function catchUp() {
  if (!compared) return load();
  const now = versions();
  const isOlder = !isPicked && SIDES.some((side) => newest()[side] !== state[side]);
  const changed = SIDES.map(find).filter((window, side) => window && now[side] !== compared[side]);
  if (!isOlder && !changed.length) return $("news").replaceChildren();
  if (isUnattended()) return $("difference").classList.contains("loading") || showNewest();
  const said = isOlder
    ? "Newer windows are published."
    : `Since this was compared, ${changed.map((window) => `version ${window.version} (${window.state}) of ${title(window)}`).join(" and ")} was published.`;
  const show = () => ($("difference").focus(), showNewest());
  const told = notice("info", said, el("p", {}, el("button", { type: "button", click: show }, "Compare anew")));
  // The same again is not news.
  if ($("news").textContent !== told.textContent) $("news").replaceChildren(told);
}

/** Compares what is published now: the newest pair, unless one was picked. */
function showNewest() {
  if (!isPicked) state = { ...state, ...newest(), open: "" };
  if (location.hash.length > 1) write(state, true);
  pair();
  return load();
}

// --- controls --------------------------------------------------------------------------------------------------------

/** Asks for a token in the dialog. */
auth.ask = (problem) =>
  new Promise((resolve) => {
    const dialog = $("token-dialog");
    $("token-problem").textContent = problem.message;
    $("token").value = "";
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "use" ? $("token").value.trim() : null), {
      once: true,
    });
    dialog.showModal();
  });

for (const side of SIDES) $(side).addEventListener("change", () => change({ [side]: $(side).value }));
for (const name of ["by", "evidence"]) $(name).addEventListener("change", () => change({ [name]: $(name).value }));
for (const name of ["min_bytes", "ratio"])
  $(name).addEventListener("change", () => $(name).checkValidity() && change({ [name]: $(name).value }));
$("q").addEventListener(
  "input",
  settled(150, () => change({ q: $("q").value })),
);
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("mode").addEventListener("change", (event) => (mode = event.target.value));
$("swap").addEventListener("click", () => change({ before: state.after, after: state.before }));
$("token-cancel").addEventListener("click", () => $("token-dialog").close());
$("token-change").addEventListener("click", () => {
  auth.token = null;
  start();
});
start();
whileSeen(ASK_EVERY * 1000, refresh);
