// The page: asks for the key or offers to sign in, then keeps form, stage, gallery and fleets fresh while somebody looks.

import * as api from "./api.js";
import { $, show, warn } from "./dom.js";
import * as erasing from "./erasing.js";
import * as fleets from "./fleets.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import * as stage from "./stage.js";

const ROUND_MS = 3000;
const OVER = "Your session is over. Sign in again: what you typed is kept.";
const EXPIRED = "api_key_expired";
let round = null;
let again = null;

async function look() {
  if (!api.isKnown()) return;
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
  const hasKey = Boolean(api.key.get());
  try {
    const models = await api.models();
    form.offer(models);
    const usage = await api.usage();
    fleets.govern(usage.role);
    fleets.draw(models);
    erasing.offer(usage);
    await gallery.refresh();
  } catch (error) {
    const isKnown = error.status !== 401 && api.isKnown(); // then only the gateway is away: no need to type the key again
    if (isKnown) again = setTimeout(enter, ROUND_MS);
    $("key-fault").textContent = isKnown || error.code === EXPIRED ? error.message : hasKey ? "This key is not known here." : OVER;
    return open(false);
  }
  $("who-tenant").textContent = api.session() || "";
  show($("who"), Boolean(api.session()));
  form.restore();
  open(true);
  $("prompt").focus();
  clearInterval(round);
  round = setInterval(look, ROUND_MS);
}

function open(inside) {
  show($("door"), !inside);
  show($("rooms"), inside);
  show($("nav"), inside);
  if (!inside) show($("who"), false);
  if (!inside) $("key").focus();
}

/** The door; what was typed stays in the form. */
function leave() {
  $("key-fault").textContent = api.session() ? OVER : "";
  api.forget();
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
$("forget").addEventListener("click", async () => {
  try {
    const hadSession = api.session();
    await api.signOut();
    if (hadSession) form.clear(); // the next one at this screen may be somebody else
    leave();
  } catch (error) {
    warn(error.message);
  }
});
$("sign-in").addEventListener("click", form.keep);
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

/** Whoever has a key does not wait for the answer. */
async function begin() {
  if (api.key.get()) enter();
  try {
    const { name, tenant } = await api.login();
    if (name) $("sign-in").textContent = `Sign in with ${name}`;
    show($("signing-in"), Boolean(name));
    if (api.key.get()) return;
    if (tenant) return enter();
  } catch (error) {
    if (api.key.get()) return;
    $("key-fault").textContent = error.message;
    again = setTimeout(begin, ROUND_MS);
  }
  open(false);
}

begin();
