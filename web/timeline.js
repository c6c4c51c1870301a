// Draws the published windows on a time line. Every window and gap is a button; arrow keys move between them.

import { $, el } from "./dom.js";
import { time } from "./format.js";
import { lanes, readPart, sentence, troubles } from "./windows.js";

/** How wide a window of the narrowest lane is drawn at first, in pixels. */
const [BAR_LEAST, BAR_MOST] = [18, 150];
/** Windows and gaps drawn at once. */
const DRAWN_MAX = 1200;
/** Steps between the marks of the axis, in minutes. */
const STEPS = [1, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7200, 14400, 43200, 129600, 525600];

export class Timeline {
  #lanes = [];
  #view = { start: 0, stop: 1 };
  #picked = {};
  #focused = null;

  /** `pick(window, side)` and `pickGap(gap)` are called for what a person chooses, `point(item)` for what is looked at. */
  constructor(root, { pick, pickGap, point }) {
    Object.assign(this, { root, pick, pickGap, point });
    root.addEventListener("keydown", (event) => this.#key(event));
    for (const [id, action] of [
      ["earlier", () => this.#pan(-0.5)],
      ["later", () => this.#pan(0.5)],
      ["closer", () => this.#zoom(0.5)],
      ["wider", () => this.#zoom(2)],
    ]) {
      $(id).addEventListener("click", action);
    }
    new ResizeObserver(() => this.draw()).observe(root);
  }

  /** Shows these windows, the newest of them in sight. */
  load(windows) {
    this.#take(windows);
    const narrowest = this.#lanes[0]?.width ?? 1;
    const room = Math.max(this.root.clientWidth - 70, 200);
    const whole = this.all.stop - this.all.start;
    const length = Math.min(Math.max(whole, (narrowest * room) / BAR_MOST), (narrowest * room) / BAR_LEAST);
    const start = whole < length ? this.all.start : this.all.stop - length;
    this.#view = { start, stop: start + length };
    this.draw();
  }

  /** Shows these windows instead; the view goes along with the newest if it was in sight, and else stays where it is. */
  update(windows) {
    const wasAtEnd = this.#view.stop >= this.all.stop;
    this.#take(windows);
    const { start, stop } = this.#view;
    const moved = wasAtEnd ? Math.max(this.all.stop - stop, 0) : 0;
    this.#view = { start: start + moved, stop: stop + moved };
    this.draw();
  }

  #take(windows) {
    this.#lanes = lanes(windows);
    const starts = windows.map((window) => window.start);
    const stops = windows.map((window) => window.stop);
    this.all = {
      start: starts.reduce((a, b) => Math.min(a, b), Infinity),
      stop: stops.reduce((a, b) => Math.max(a, b), 0),
    };
  }

  /** Marks the pair that is compared: names of windows by side. */
  mark(picked) {
    this.#picked = picked;
    this.draw();
  }

  draw() {
    const hadFocus = this.root.contains(document.activeElement);
    const { start, stop } = this.#view;
    let left = DRAWN_MAX;
    const shown = this.#lanes.map((lane) => {
      const items = lane.items.filter((item) => item.stop > start && item.start < stop).slice(-left);
      left -= items.length;
      return { lane, items };
    });
    const reachable = shown.flatMap(({ items }) => items);
    const entry =
      reachable.find((item) => item.id === this.#focused) ??
      reachable.find((item) => item.id === this.#picked.after) ??
      reachable.at(-1);
    this.root.replaceChildren(
      ...shown.map(({ lane, items }) =>
        el(
          "div",
          { class: "lane" },
          el("span", { class: "lane-name" }, lane.name),
          el(
            "div",
            { class: "track" },
            items.map((item) => this.#item(item, item === entry)),
          ),
        ),
      ),
      this.#axis(),
    );
    if (hadFocus) this.root.querySelector("[tabindex='0']")?.focus({ preventScroll: true });
  }

  #item(item, isEntry) {
    const sides = ["before", "after"].filter((side) => this.#picked[side] === item.id);
    const button = el("button", {
      type: "button",
      class: ["window", item.isGap && "gap", !item.isGap && item.state !== "final" && "provisional", ...sides]
        .filter(Boolean)
        .join(" "),
      tabindex: isEntry ? 0 : -1,
      "aria-label": sentence(item) + sides.map((side) => `; picked as ${side}`).join(""),
      "aria-pressed": item.isGap ? null : String(sides.length > 0),
      click: () => (item.isGap ? this.pickGap(item) : this.pick(item)),
      focus: () => {
        this.#focused = item.id;
        this.point(item);
      },
      mouseenter: () => this.point(item),
    });
    const { start, stop } = this.#view;
    const part = (instant) => ((Math.min(Math.max(instant, start), stop) - start) / (stop - start)) * 100;
    button.style.left = `${part(item.start)}%`;
    button.style.width = `${part(item.stop) - part(item.start)}%`;
    if (!item.isGap) {
      const fill = el("i", { class: "fill" });
      fill.style.height = `${Math.max(readPart(item) * 100, 4)}%`;
      const signs = [...new Set(troubles(item).map(({ sign }) => sign))].filter((sign) => sign !== "◐");
      button.append(
        fill,
        ...signs.map((sign) => el("b", { class: "glyph" }, sign)),
        ...sides.map((side) => el("em", {}, side)),
      );
    }
    return button;
  }

  #axis() {
    const { start, stop } = this.#view;
    const room = Math.max((this.root.clientWidth - 70) / 110, 2);
    const step = (STEPS.find((minutes) => (stop - start) / (minutes * 60000) <= room) ?? STEPS.at(-1)) * 60000;
    const marks = [];
    for (let at = Math.ceil(start / step) * step; at < stop; at += step) {
      const mark = el("span", {}, time(at));
      mark.style.left = `${((at - start) / (stop - start)) * 100}%`;
      marks.push(mark);
    }
    return el(
      "div",
      { class: "lane axis", "aria-hidden": "true" },
      el("span", { class: "lane-name" }, "UTC"),
      el("div", { class: "track" }, marks),
    );
  }

  #pan(part) {
    const { start, stop } = this.#view;
    const length = stop - start;
    const furthest = Math.max(this.all.stop - length, this.all.start);
    const moved = Math.min(Math.max(start + part * length, this.all.start), furthest);
    this.#view = { start: moved, stop: moved + length };
    this.draw();
  }

  #zoom(factor) {
    const { start, stop } = this.#view;
    const narrowest = this.#lanes[0]?.width ?? 60000;
    const length = Math.min(
      Math.max((stop - start) * factor, narrowest * 2),
      Math.max(this.all.stop - this.all.start, narrowest * 4) * 1.1,
    );
    this.#view = { start: stop - length, stop };
    this.#pan(0);
  }

  #key(event) {
    const lane = this.#lanes.findIndex(({ items }) => items.some((item) => item.id === this.#focused));
    if (lane < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const items = this.#lanes[lane].items;
    const place = items.findIndex((item) => item.id === this.#focused);
    const beside = (other) => this.#lanes[other]?.items.find((item) => item.stop > items[place].start);
    const moves = {
      ArrowLeft: () => items[place - 1],
      ArrowRight: () => items[place + 1],
      ArrowUp: () => beside(lane - 1),
      ArrowDown: () => beside(lane + 1),
      Home: () => items[0],
      End: () => items.at(-1),
    };
    if (event.key in moves) {
      event.preventDefault();
      const item = moves[event.key]();
      if (item) this.#reveal(item);
    } else if ((event.key === "b" || event.key === "a") && !items[place].isGap) {
      this.pick(items[place], event.key === "b" ? "before" : "after");
    }
  }

  /** Moves the focus to an item, and the view with it where it was out of sight. */
  #reveal(item) {
    this.#focused = item.id;
    const { start, stop } = this.#view;
    const length = stop - start;
    if (item.start < start || item.stop > stop) {
      const from = item.start < start ? item.start - length * 0.1 : item.stop - length * 0.9;
      this.#view = { start: from, stop: from + length };
    }
    this.draw();
  }
}
