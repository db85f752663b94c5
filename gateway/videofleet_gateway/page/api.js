// The gateway's API as this page uses it. The key lives in sessionStorage: this tab only, gone with it. A session's cookie
// no script ever sees; the gateway says whether there is one.

const KEY = "videofleet.key";
const RECONNECT_MS = 1000;
const SPARE_S = 60; // of a link: what is left must do for what begins now

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

let signedIn = null; // the tenant of the session

export const session = () => !key.get() && signedIn;

/** Whether one can sign in here, and has: {name, tenant}. */
export async function login() {
  const told = await json("GET", "/login/session");
  signedIn = told.tenant;
  return told;
}

/** Ends what there is: the session at the gateway, or the key in this tab. */
export async function signOut() {
  if (session()) await send("POST", "/login/end");
  forget();
}

export function forget() {
  key.forget();
  signedIn = null;
}

export const isKnown = () => Boolean(key.get() || signedIn);

export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `The gateway answered ${status}.`);
    this.status = status;
    this.code = problem.error?.code;
    this.fields = problem.errors ?? [];
    this.advice = problem.advice ?? [];
  }
}

async function send(method, path, options = {}) {
  const headers = { ...(key.get() && { Authorization: `Bearer ${key.get()}` }), ...options.headers };
  let reply;
  try {
    reply = await fetch(path, { ...options, method, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { detail: "The gateway does not answer; try again in a moment." });
  }
  if (reply.status === 401) document.dispatchEvent(new Event("unauthorized"));
  if (!reply.ok) throw new Refusal(reply.status, await reply.json().catch(() => ({})));
  return reply;
}

const json = async (...request) => (await send(...request)).json();

export const models = async () => (await json("GET", "/v1/models")).data;
export const videos = (after) => json("GET", `/v1/videos?limit=12${after ? `&after=${after}` : ""}`);
export const video = (id) => json("GET", `/v1/videos/${id}`);
export const remove = (id) => json("DELETE", `/v1/videos/${id}`);
export const usage = () => json("GET", "/v1/usage");
const post = (path, fields) => json("POST", path, { body: JSON.stringify(fields), headers: { "Content-Type": "application/json" } });
export const erase = (tenant) => post("/v1/erase", { tenant });
export const intake = (model, verb) => post(`/v1/intake/${verb}`, { model });
export const rate = (id, rating) => post(`/v1/videos/${id}/feedback`, { rating });
export const create = (fields) =>
  json("POST", "/v1/videos", {
    body: JSON.stringify(fields),
    headers: { "Content-Type": "application/json", "Idempotency-Key": crypto.getRandomValues(new Uint32Array(4)).join("-") },
  });

const known = new Map();

/** Addresses that open this one video for some minutes: elements and EventSource cannot send the key, and no URL ever holds it. */
export async function links(id) {
  const had = known.get(id);
  if (had && had.expires_at - SPARE_S > Date.now() / 1000) return had.links;
  const made = await json("POST", `/v1/videos/${id}/links`);
  known.set(id, made);
  return made.links;
}

/** Calls `hear(name, data)` for every event of the job until it ended; comes back after a lost connection. */
export async function follow(id, hear, signal) {
  let stream = null;
  signal.addEventListener("abort", () => stream?.close());
  while (!signal.aborted) {
    try {
      stream = new EventSource((await links(id)).events);
      if (signal.aborted) return stream.close();
      if (await end(stream, hear)) return;
      known.delete(id); // the link may be what was refused
    } catch (error) {
      if (error.status === 401 || error.status === 404) return;
    }
    await new Promise((resume) => setTimeout(resume, RECONNECT_MS));
  }
}

/** Whether the job ended; false when the browser gave the stream up. */
function end(stream, hear) {
  return new Promise((settle) => {
    for (const name of ["queued", "progress", "done", "deleted"])
      stream.addEventListener(name, (event) => {
        if (name === "done" || name === "deleted") stream.close(), settle(true);
        hear(name, JSON.parse(event.data));
      });
    stream.addEventListener("error", () => stream.readyState === EventSource.CLOSED && settle(false));
  });
}
