// The form: settings in, a job out; what the gateway refuses is said at the field it is about.

import * as api from "./api.js";
import { $, el } from "./dom.js";

const FIELDS = ["prompt", "model", "tier", "negative_prompt", "seed", "guidance_scale"];
const TYPED = ["prompt", "negative_prompt", "seed", "guidance_scale"];
const DRAFT = "videofleet.draft"; // while somebody is away to sign in again
let models = [];

/** Takes in the models; a choice that still exists stays. */
export function offer(fresh) {
  const same = JSON.stringify(fresh.map((each) => [each.id, each.tiers])) === JSON.stringify(models.map((each) => [each.id, each.tiers]));
  models = fresh;
  if (same) return;
  const chosen = $("model").value;
  $("model").replaceChildren(...fresh.map((each) => el("option", { value: each.id }, each.id)));
  if (fresh.some((each) => each.id === chosen)) $("model").value = chosen;
  offerTiers();
}

function offerTiers(wanted = tier()) {
  const tiers = models.find((each) => each.id === $("model").value)?.tiers ?? [];
  const chosen = tiers.some((each) => each.name === wanted) ? wanted : tiers[0]?.name;
  $("tiers").replaceChildren(...tiers.map((each) =>
    el("label", {}, el("input", { type: "radio", name: "tier", value: each.name, checked: each.name === chosen }),
      each.name, el("span", {}, `${each.size} · ${each.seconds} s`))));
}

const tier = () => document.querySelector("#tiers :checked")?.value;

/** Fills the form with what a video was made of. */
export function fill(video) {
  $("prompt").value = video.prompt ?? "";
  $("seed").value = video.seed;
  if (models.some((each) => each.id === video.model)) $("model").value = video.model;
  offerTiers(video.tier);
  $("form").querySelector("details").open = true;
  $("prompt").focus();
}

/** Signing in leaves the page: what was typed waits in this tab. */
export function keep() {
  if (TYPED.some((name) => $(name).value.trim())) sessionStorage.setItem(DRAFT, JSON.stringify(asked()));
}

export function restore() {
  const draft = JSON.parse(sessionStorage.getItem(DRAFT));
  sessionStorage.removeItem(DRAFT);
  if (!draft) return;
  for (const name of TYPED) $(name).value = draft[name] ?? "";
  if (models.some((each) => each.id === draft.model)) $("model").value = draft.model;
  offerTiers(draft.tier);
}

export function clear() {
  $("form").reset();
  offerTiers();
}

export function listen(created) {
  $("model").addEventListener("change", () => offerTiers());
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit();
  });
  $("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    complain([]);
    $("submit").disabled = true;
    try {
      created(await api.create(asked()));
    } catch (error) {
      complain(error.fields?.length ? error.fields : [{ field: error.advice?.length ? "prompt" : "form", detail: error.message }]);
    } finally {
      $("submit").disabled = false;
    }
  });
}

function asked() {
  const given = { prompt: $("prompt").value, model: $("model").value, tier: tier() };
  for (const name of ["negative_prompt", "seed", "guidance_scale"]) given[name] = $(name).value.trim();
  return Object.fromEntries(Object.entries(given).filter(([name, value]) => value || name === "prompt"));
}

function complain(faults) {
  for (const name of [...FIELDS, "form"]) {
    const about = faults.filter(({ field }) => field === name || (name === "form" && !FIELDS.includes(field)));
    $(`${name}-fault`).textContent = about.map(({ detail }) => detail).join("; ");
    if ($(name)?.matches("input, textarea, select")) $(name).setAttribute("aria-invalid", String(about.length > 0));
  }
  const first = faults.map(({ field }) => $(field)).find((element) => element?.matches("input, textarea, select"));
  if (first?.closest("details")) first.closest("details").open = true;
  first?.focus();
}
