// The published windows as the service tells them, asked for again while the page is looked at: only those that can have
// changed, and they are sent only if they did.

import { address, request } from "./api.js";
import { minute } from "./format.js";
import { merged, prepare, since } from "./windows.js";

const NOT_MODIFIED = 304;

export class Published {
  /** The windows, oldest first; `null` until the service has told them. */
  windows = null;
  /** When it answered last, by its own clock, in milliseconds. */
  told = 0;
  /** Of the answer that is held: what was asked for, and its entity tag. */
  #held = { path: "", tag: null };

  /** Asks for all windows, and for a token where one is wanted. */
  async load() {
    await this.#ask(null, true);
  }

  /** Asks again, without troubling anybody for a token; `looked` are the names of windows that are looked at. Whether the
   * answer is another one than before. */
  renew(looked) {
    return this.#ask(since(this.windows ?? [], looked), false);
  }

  async #ask(from, asks) {
    const path = from === null ? "v1/windows" : address("v1/windows", { from: minute(from) });
    const headers = path === this.#held.path && this.#held.tag ? { "If-None-Match": this.#held.tag } : {};
    const response = await request(path, { headers, asks });
    this.told = Date.parse(response.headers.get("Date")) || Date.now();
    if (response.status === NOT_MODIFIED) return false;
    const told = (await response.json()).map(prepare);
    this.windows = merged(this.windows ?? [], from, told);
    this.#held = { path, tag: response.headers.get("ETag") };
    return true;
  }
}

/** Calls `action` every `milliseconds` while the page is looked at; where one is missed, when it is looked at again. */
export function whileSeen(milliseconds, action) {
  const turn = async () => {
    if (document.hidden) return document.addEventListener("visibilitychange", turn, { once: true });
    await action();
    setTimeout(turn, milliseconds);
  };
  setTimeout(turn, milliseconds);
}
