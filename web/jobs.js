// Jobs: windows that are built when they are asked for. Watches one until it ends, counts those under way.

import { $, el } from "./dom.js";
import { json } from "./api.js";
import { count, counted } from "./format.js";

/** Seconds between two questions, unless the service says otherwise. */
const [ASK_LEAST, ASK, ASK_MOST] = [1, 2, 30];
const OVER = new Set(["done", "failed", "cancelled"]);

export const isOver = (job) => OVER.has(job.status);
export const jobPath = (job) => `v1/jobs/${encodeURIComponent(job.id)}`;

const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });

/** Asks for a job until it is over, and tells `progress` each time. `seconds` is what `Retry-After` said. */
export async function watch(job, seconds, progress, signal) {
  for (;;) {
    progress(job);
    if (isOver(job)) return job;
    await pause(Math.min(Math.max(seconds || ASK, ASK_LEAST), ASK_MOST), signal);
    job = await json(jobPath(job), { signal });
  }
}

/** Asks for one window, or for two to compare, to be built; gives the job. */
export const build = (windows) =>
  json("v1/jobs", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ windows }),
  });

export const cancel = (job) => json(jobPath(job), { method: "DELETE" });

/** A job in words and as a bar: `{ element, show(job) }`. The element stays while the job goes on, so that its button
 * keeps the focus and only a new status is read out. */
export function jobView(onCancel) {
  const [title, said] = [el("strong", { role: "status" }), el("p")];
  const bar = el("progress", { "aria-label": "Progress of the job" });
  const element = el(
    "div",
    { class: "notice info" },
    title,
    said,
    bar,
    el(
      "p",
      { class: "muted" },
      "What was asked for follows when they are there. ",
      el("button", { type: "button", click: onCancel }, "Cancel"),
    ),
  );
  /** Windows count whole, and so does the part of the objects that is read. */
  const show = (job) => {
    const { windows = 0, windows_done: done = 0, objects = 0, objects_read: read = 0 } = job.progress ?? {};
    const status = `Building ${job.windows.join(" and ")}: ${job.status}`;
    if (title.textContent !== status) title.textContent = status;
    said.textContent = [
      `${done} of ${counted(windows, "window")} built`,
      objects && `${count(read)} of ${counted(objects, "object")} read`,
      job.attempt > 1 && `try ${job.attempt}`,
    ]
      .filter(Boolean)
      .join(", ");
    bar.max = windows || 1;
    bar.value = done + (objects && done < windows ? Math.min(read / objects, 1) : 0);
  };
  return { element, show };
}

let hasJobs = true;

/** Puts the number of jobs under way into the header. */
export async function countJobs() {
  if (!hasJobs) return;
  try {
    const open = (await json("v1/jobs", { asks: false })).jobs.filter((job) => !isOver(job)).length;
    $("jobs").textContent = open ? `${counted(open, "job")} under way` : "";
  } catch (problem) {
    // A service without a worker has no jobs; another trouble is told where data is asked for.
    hasJobs = ![403, 404, 405].includes(problem.status);
  }
}
