// The tenant's own videos, newest first. Thumbnails are fetched once.

import * as api from "./api.js";
import { $, ago, el, show } from "./dom.js";

const WORDS = { queued: "Waiting", in_progress: "Working", completed: "Ready", failed: "Failed" };
const pictures = new Map();
let shown = [];
let more = false;

export const anyUnfinished = () => shown.some((video) => ["queued", "in_progress"].includes(video.status));

export async function refresh(current) {
  const page = await api.videos();
  const ids = new Set(page.data.map((video) => video.id));
  const oldest = page.data.at(-1)?.created_at ?? 0;
  // What was fetched as older stays, except what the new first page should have held: that was deleted.
  const older = page.has_more ? shown.filter((video) => !ids.has(video.id) && video.created_at < oldest) : [];
  if (!older.length) more = page.has_more;
  shown = [...page.data, ...older];
  draw(current);
}

export async function older(current) {
  const page = await api.videos(shown.at(-1)?.id);
  shown = [...shown, ...page.data];
  more = page.has_more;
  draw(current);
}

export function forget() {
  pictures.clear();
  shown = [];
  $("cards").replaceChildren();
}

export function draw(current) {
  const focused = document.activeElement?.dataset.id;
  $("cards").replaceChildren(...shown.map((video) => card(video, video.id === current)));
  if (!shown.length) $("cards").append(el("li", { class: "none" }, "No videos yet. The first one will stand here."));
  show($("older"), more);
  if (focused) $("cards").querySelector(`[data-id="${focused}"]`)?.focus();
}

function card(video, isCurrent) {
  const open = () => document.dispatchEvent(new CustomEvent("open", { detail: video.id }));
  const stirs = (event) => stir(event.currentTarget, video.id);
  const words = video.status === "in_progress" ? `${video.progress} %` : WORDS[video.status];
  return el("li", {},
    el("button", { type: "button", "data-id": video.id, "aria-current": String(isCurrent), on: { click: open, pointerenter: stirs, focus: stirs } },
      thumb(video),
      el("span", { class: "line" }, el("span", {}, `${words} · ${video.tier}`), el("span", {}, ago(video.created_at)))));
}

function thumb(video) {
  const place = el("span", { class: "thumb" });
  if (video.status !== "completed") place.append(video.status === "failed" ? "✕" : "…");
  else {
    place.append(pictures.get(video.id) ?? picture(video.id));
    place.append(el("span", { class: "sprites", "aria-hidden": "true" }));
  }
  return place;
}

/** The sheet of a video's frames is fetched when somebody first points at it; the style sheet moves it. */
async function stir(button, id) {
  const sprites = button.querySelector(".sprites");
  if (!sprites || sprites.style.backgroundImage) return;
  const { spritesheet } = await api.links(id).catch(() => ({}));
  if (spritesheet) sprites.style.backgroundImage = `url("${spritesheet}")`;
}

/** Made once and moved from card to card, so that nothing is fetched twice. */
function picture(id) {
  const image = el("img", { alt: "" });
  pictures.set(id, image);
  api.links(id).then(({ thumbnail }) => (image.src = thumbnail)).catch(() => pictures.delete(id));
  return image;
}
