// The stage: one job, followed live until its video plays.

import * as api from "./api.js";
import { $, el, seconds, show, warn } from "./dom.js";

const STAGES = {
  starting: "Starting", loading: "Loading the model", encoding_prompt: "Reading the prompt", denoising: "Painting",
  decoding: "Developing the frames", muxing: "Making the file", uploading: "Storing it",
};
let following = null;

export const current = () => following?.id;

/** Puts a video on the stage; `advice` only for a new one. */
export function put(video, advice = []) {
  following?.abort.abort();
  following = { id: video.id, abort: new AbortController() };
  $("advice").replaceChildren(...advice.map((each) => el("li", {}, `Your prompt ${each.message}.`)));
  show($("advice"), advice.length > 0);
  $("stage-prompt").textContent = video.prompt ?? "";
  show($("stage-prompt"), Boolean(video.prompt));
  tell(video.status === "queued" ? "queued" : video.status === "in_progress" ? "progress" : "done", video);
  if (["queued", "in_progress"].includes(video.status)) api.follow(video.id, tell, following.abort.signal);
}

export function clear(title = "Nothing here yet", detail = "Your video will appear here.") {
  following?.abort.abort();
  following = null;
  say(title, detail, null);
  show($("advice"), false);
  show($("stage-prompt"), false);
  $("acts").replaceChildren();
  screen();
}

function tell(name, data) {
  if (name === "deleted") return clear("Deleted", "This video is gone.");
  if (name === "queued") {
    const place = data.position ? `Waiting: ${data.position === 1 ? "next in the queue" : `number ${data.position} in the queue`}` : "Waiting in the queue";
    say(place, eta(data), 0);
    screen("busy", "…");
  } else if (name === "progress") {
    const step = data.steps ? `step ${data.step} of ${data.steps}` : "";
    say(STAGES[data.stage] ?? "Working", [step, eta(data)].filter(Boolean).join(" · "), data.progress);
    screen("busy", `${data.progress} %`);
  } else finish(data);
  if (name !== "done") acts(act("Cancel", () => api.remove(data.id)));
  document.dispatchEvent(new CustomEvent("job", { detail: { name, data } }));
}

function eta(data) {
  return data.eta_s == null ? "" : `ready in about ${seconds(data.eta_s)}`;
}

async function finish(video) {
  const again = act("Use these settings", () => document.dispatchEvent(new CustomEvent("reuse", { detail: video.id })));
  const bin = act("Delete", async () => {
    await api.remove(video.id);
    clear("Deleted", "This video is gone.");
    document.dispatchEvent(new CustomEvent("job", { detail: { name: "deleted", data: video } }));
  });
  if (video.status !== "completed") {
    say("No video", video.error?.message ?? "It failed.", null);
    screen("", "✕");
    return acts(again, bin);
  }
  say("Your video", `${video.size} · ${video.seconds} s · tier ${video.tier} · seed ${video.seed}`, null);
  const mine = following;
  try {
    const { video: source } = await api.links(video.id);
    if (following !== mine) return;
    screen("", el("video", { src: source, controls: true, loop: true, muted: true, autoplay: true, playsInline: true, "aria-label": "The video", on: { error: (event) => reopen(event.target, video) } }));
    rating(video.id);
    acts(el("a", { class: "button", href: source, download: `${video.id}.mp4` }, "Download"), again, bin);
  } catch (error) {
    say("The file is not there", error.message, null);
    acts(again, bin);
  }
}

/** Five stars; the latest word counts. */
function rating(id) {
  const stars = [1, 2, 3, 4, 5].map((count) =>
    el("button", { type: "button", "aria-label": `${count} of 5`, "aria-pressed": "false", on: { click: () => give(count) } }, "☆"));
  const give = async (count) => {
    try {
      await api.rate(id, count);
    } catch (error) {
      return warn(error.message);
    }
    stars.forEach((star, index) => {
      star.setAttribute("aria-pressed", String(index + 1 === count));
      star.classList.toggle("lit", index < count);
      star.textContent = index < count ? "★" : "☆";
    });
  };
  $("rating").replaceChildren(...stars);
  show($("rating"), true);
}

/** Links live for minutes, and somebody may seek in a video for longer. */
async function reopen(element, video) {
  const { video: source } = await api.links(video.id).catch(() => ({}));
  if (!source || element.src.endsWith(source)) return say("The file is not there", "It cannot be played.", null);
  const at = element.currentTime;
  element.src = source;
  element.currentTime = at;
}

function say(title, detail, percent) {
  if ($("stage-title").textContent !== title) $("stage-title").textContent = title;
  $("stage-detail").textContent = detail;
  show($("bar"), percent != null);
  $("bar").value = percent ?? 0;
  document.title = percent ? `${percent} % · VideoFleet` : "VideoFleet";
}

function screen(mood = "", content = "") {
  show($("rating"), false);
  $("screen").className = `screen ${mood}`;
  $("screen").replaceChildren(content);
}

function act(words, does) {
  return el("button", { type: "button", on: { click: () => Promise.resolve(does()).catch((error) => { $("stage-detail").textContent = error.message; }) } }, words);
}

function acts(...buttons) {
  const words = (list) => [...list].map((each) => each.textContent).join();
  if (words($("acts").children) === words(buttons) && $("acts").dataset.job === following?.id) return; // keep the focus
  $("acts").dataset.job = following?.id ?? "";
  $("acts").replaceChildren(...buttons);
}
