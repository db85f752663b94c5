// The fleets this key may use: rollout, fallback, intake, what waits and runs, what each worker does, and what was decided.

import * as api from "./api.js";
import { $, ago, el, warn } from "./dom.js";

let isAdmin = false;

export const govern = (role) => { isAdmin = role === "admin"; };

export function draw(models) {
  if (!models.length) return $("fleet-list").replaceChildren(el("p", { class: "none" }, "No fleet is open to you yet."));
  const focused = document.activeElement?.dataset.intake;
  $("fleet-list").replaceChildren(...models.map(fleet));
  if (focused) $("fleet-list").querySelector(`[data-intake="${focused}"]`)?.focus();
}

function fleet(model) {
  const ready = model.workers.filter((worker) => worker.state === "ready").length;
  return el("article", { class: "card fleet" },
    el("div", { class: "title" }, el("div", {}, el("h3", {}, model.id), el("p", { class: "arch" }, model.architecture)), ...(isAdmin ? [intake(model)] : [])),
    ...notices(model),
    el("dl", { class: "figures" }, figure("Waiting", model.waiting), figure("Running", model.running), figure("Ready", `${ready}/${model.workers.length}`)),
    ...queue(model.waiting_by_priority),
    rollout(model.rollout),
    el("ul", { class: "tags", "aria-label": "Tiers" }, ...model.tiers.map((tier) => el("li", {}, `${tier.name} · ${tier.size} · ${tier.seconds} s`))),
    model.workers.length
      ? el("ul", { class: "workers", "aria-label": "Workers" }, ...model.workers.map((each) => worker(each, model.rollout)))
      : el("p", { class: "none" }, "No worker has reported in the last 30 s."),
    ...decided(model.decisions));
}

function intake(model) {
  const verb = model.intake === "paused" ? "resume" : "pause";
  const act = () => api.intake(model.id, verb).then(() => document.dispatchEvent(new Event("look"))).catch((error) => warn(error.message));
  return el("button", { type: "button", "data-intake": model.id, "aria-label": `${verb} intake of ${model.id}`, on: { click: act } }, verb === "pause" ? "Pause intake" : "Resume intake");
}

function notices(model) {
  const said = [];
  if (model.intake === "paused") said.push("Intake is paused: nothing new is taken.");
  if (model.fallback) said.push(`Under load, ${model.fallback.share_percent} % of the jobs are made in tier ${model.fallback.tier}: ${model.fallback.cause}.`);
  return said.map((words) => el("p", { class: "notice" }, words));
}

function rollout({ stable, canary }) {
  const weight = canary?.weight_percent ?? 0;
  const words = canary ? `${100 - weight} % ${stable} · ${weight} % canary ${canary.revision}` : stable ? `revision ${stable}` : "no revision serves yet";
  const bar = canary ? [el("progress", { max: 100, value: weight, "aria-label": `Share of canary ${canary.revision}` })] : [];
  return el("div", { class: "rollout" }, el("p", {}, words), ...bar);
}

/** Who waits, in the order in which they are served; nothing while nobody does. */
function queue(waiting) {
  const rows = Object.entries(waiting).filter(([, jobs]) => jobs);
  return rows.length ? [el("p", { class: "queue" }, "In the queue: ", rows.map(([priority, jobs]) => `${jobs} ${priority}`).join(" · "))] : [];
}

function figure(name, value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, String(value)));
}

function worker(each, { canary }) {
  const doing = each.state === "ready" ? (each.busy ? "making a video" : "idle") : each.state;
  const track = canary?.revision === each.revision ? " · canary" : "";
  const line = [el("span", { class: `dot ${each.state}` }), el("span", { class: "name" }, each.name), el("span", { class: "what" }, (each.leaving ? `${doing}, leaving` : doing) + track)];
  if (each.state !== "ready" && each.detail) line.push(el("span", { class: "detail" }, each.detail));
  return el("li", {}, ...line);
}

function decided(decisions) {
  if (!decisions.length) return [];
  const rows = decisions.slice(0, 5).map((each) => el("li", {}, el("time", { dateTime: new Date(each.at * 1000).toISOString() }, ago(each.at)), el("span", {}, each.text)));
  return [el("ol", { class: "decisions", "aria-label": "Last decisions" }, ...rows)];
}
