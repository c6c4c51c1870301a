// Talks to the service: problems as errors, a token where it wants one, rows as they arrive, jobs until they end.

const TOKEN = "flowdiff-token";

/** Why there is no answer: the problem+json of the service, or what the browser says. */
export class Problem extends Error {
  constructor(status, { title, detail, hint, nearest, request_id } = {}) {
    super(detail || title || `the service answered ${status}`);
    Object.assign(this, { status, hint, nearest: nearest ?? [], requestId: request_id });
  }
}

export const auth = {
  /** Asks the person for a token; set by the page. Gives `null` if there is none. */
  ask: async (_problem) => null,
  get token() {
    return sessionStorage.getItem(TOKEN);
  },
  set token(value) {
    if (value) sessionStorage.setItem(TOKEN, value);
    else sessionStorage.removeItem(TOKEN);
  },
};
let asking = null;

async function send(path, options) {
  const headers = new Headers(options.headers);
  if (auth.token) headers.set("Authorization", `Bearer ${auth.token}`);
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, {
      detail: "the service does not answer",
      hint: "is it running, and can this machine reach it?",
    });
  }
}

async function problem(response) {
  const body = await response.json().catch(() => ({}));
  return new Problem(response.status, { title: response.statusText, ...body });
}

/** An answer of the service; asks for a token where one is wanted, once for all who wait, unless `asks` is false. Throws
 * a `Problem`. That what is held already is right (304) is an answer, too. */
export async function request(path, { asks = true, ...options } = {}) {
  for (;;) {
    const used = auth.token;
    const response = await send(path, options);
    if (response.ok || response.status === 304) return response;
    const refused = await problem(response);
    if (response.status !== 401 || !asks) throw refused;
    // Another request may have got a newer token meanwhile.
    if (auth.token !== used) continue;
    asking ??= auth.ask(refused).finally(() => (asking = null));
    const token = await asking;
    if (!token) throw refused;
    auth.token = token;
  }
}

export const json = async (path, options) => (await request(path, options)).json();

/** An address of the service with parameters; empty ones are left out. Windows stay readable. */
export function address(path, parameters) {
  const said = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value != null));
  return `${path}?${said.toString().replaceAll("%3A", ":").replaceAll("%2F", "/")}`;
}

/** The rows of an NDJSON answer, `most` at most: `{ rows, isWhole }`. Tells `progress` how many there are so far. */
export async function rows(response, most, progress) {
  const rows = [];
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      const lines = (rest + (value ?? "")).split("\n");
      rest = done ? "" : lines.pop();
      for (const line of lines) {
        if (!line) continue;
        if (rows.length === most) return { rows, isWhole: false };
        rows.push(JSON.parse(line));
      }
      progress(rows.length);
      if (done) return { rows, isWhole: true };
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: `the answer broke off after ${rows.length} rows: ${error.message}` });
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Saves an answer as a file; a plain link cannot send the token. */
export async function save(path, name) {
  const url = URL.createObjectURL(await (await request(path)).blob());
  const link = document.createElement("a");
  Object.assign(link, { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
