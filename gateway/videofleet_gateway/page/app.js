// The page: asks for the key, then keeps form, stage, gallery and fleets fresh while somebody looks.

import * as api from "./api.js";
import { $, show, warn } from "./dom.js";
import * as erasing from "./erasing.js";
import * as fleets from "./fleets.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import * as stage from "./stage.js";

const ROUND_MS = 3000;
let round = null;
let again = null;

async function look() {
  if (!api.key.get()) return;
  try {
    if (!document.hidden) {
      const models = await api.models();
      form.offer(models);
      fleets.draw(models);
      if (gallery.anyUnfinished()) await gallery.refresh(stage.current());
      warn();
    }
  } catch (error) {
    warn(error.message);
  }
}

async function enter() {
  clearTimeout(again);
  try {
    const models = await api.models();
    form.offer(models);
    const usage = await api.usage();
    fleets.govern(usage.role);
    fleets.draw(models);
    erasing.offer(usage);
    await gallery.refresh();
  } catch (error) {
    const isKnown = error.status !== 401 && Boolean(api.key.get()); // then only the gateway is away: no need to type the key again
    if (isKnown) again = setTimeout(enter, ROUND_MS);
    $("key-fault").textContent = isKnown ? error.message : "This key is not known here.";
    return open(false);
  }
  open(true);
  $("prompt").focus();
  clearInterval(round);
  round = setInterval(look, ROUND_MS);
}

function open(inside) {
  show($("door"), !inside);
  show($("rooms"), inside);
  show($("nav"), inside);
  if (!inside) $("key").focus();
}

function leave() {
  api.key.forget();
  clearInterval(round);
  warn();
  stage.clear();
  gallery.forget();
  open(false);
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("key-fault").textContent = "";
  const typed = $("key").value.trim();
  if (!/^[!-~]+$/.test(typed)) return void ($("key-fault").textContent = "A key looks like vf_<id>_<secret>.");
  api.key.set(typed);
  $("key").value = "";
  enter();
});
$("forget").addEventListener("click", leave);
$("older").addEventListener("click", () => gallery.older(stage.current()).catch((error) => warn(error.message)));
document.addEventListener("unauthorized", leave);
document.addEventListener("look", look);
erasing.listen(({ videos }) => {
  stage.clear("Erased", `${videos} ${videos === 1 ? "video is" : "videos are"} gone.`);
  gallery.refresh().catch(() => {});
});
document.addEventListener("job", ({ detail }) => {
  if (detail.name === "done" || detail.name === "deleted") gallery.refresh(stage.current()).catch(() => {});
});
document.addEventListener("open", async ({ detail }) => {
  try {
    stage.put(await api.video(detail));
  } catch (error) {
    if (error.status !== 404) return warn(error.message);
    stage.clear("Gone", "This video was deleted, or its time was over.");
    await gallery.refresh().catch(() => {});
  }
  gallery.draw(stage.current());
  $("create").scrollIntoView();
});
document.addEventListener("reuse", ({ detail }) => api.video(detail).then(form.fill).catch((error) => warn(error.message)));
form.listen((video) => {
  stage.put(video, video.advice);
  gallery.refresh(stage.current()).catch(() => {});
});

if (api.key.get()) enter();
else open(false);
