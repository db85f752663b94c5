// The gateway's API as this page uses it. The key lives in sessionStorage: this tab only, gone with it.

const KEY = "videofleet.key";
const RECONNECT_MS = 1000;

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `The gateway answered ${status}.`);
    this.status = status;
    this.fields = problem.errors ?? [];
    this.advice = problem.advice ?? [];
  }
}

async function send(method, path, options = {}) {
  const headers = { Authorization: `Bearer ${key.get()}`, ...options.headers };
  let reply;
  try {
    reply = await fetch(path, { ...options, method, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { detail: "The gateway does not answer. Trying again may help." });
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
export const create = (fields) =>
  json("POST", "/v1/videos", {
    body: JSON.stringify(fields),
    headers: { "Content-Type": "application/json", "Idempotency-Key": crypto.getRandomValues(new Uint32Array(4)).join("-") },
  });

/** An object URL of the file; a media element cannot send the key itself. */
export async function file(id, variant = "video") {
  return URL.createObjectURL(await (await send("GET", `/v1/videos/${id}/content?variant=${variant}`)).blob());
}

/** Calls `hear(name, data)` for every event of the job until it ended; comes back after a lost connection. */
export async function follow(id, hear, signal) {
  let last = "";
  while (!signal.aborted) {
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      const reply = await send("GET", `/v1/videos/${id}/events`, { headers, signal });
      if (reply.status === 204) return;
      for await (const event of eventsOf(reply.body)) {
        last = event.id ?? last;
        if (event.event) hear(event.event, JSON.parse(event.data));
        if (event.event === "done" || event.event === "deleted") return;
      }
    } catch (error) {
      if (signal.aborted || error.status === 401 || error.status === 404) return;
    }
    await new Promise((resume) => setTimeout(resume, RECONNECT_MS));
  }
}

async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) yield Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s)));
  }
}
