// The fleets this key may use: what waits, what runs, and what each worker does.

import { $, el } from "./dom.js";

export function draw(models) {
  if (!models.length) return $("fleet-list").replaceChildren(el("p", { class: "none" }, "No fleet is open to this key yet."));
  $("fleet-list").replaceChildren(...models.map(fleet));
}

function fleet(model) {
  const ready = model.workers.filter((worker) => worker.state === "ready").length;
  return el("article", { class: "card fleet" },
    el("div", {}, el("h3", {}, model.id), el("p", { class: "arch" }, model.architecture)),
    el("dl", { class: "figures" }, figure("Waiting", model.waiting), figure("Running", model.running), figure("Ready", `${ready}/${model.workers.length}`)),
    el("ul", { class: "tags", "aria-label": "Tiers" }, ...model.tiers.map((tier) => el("li", {}, `${tier.name} · ${tier.size} · ${tier.seconds} s`))),
    model.workers.length
      ? el("ul", { class: "workers", "aria-label": "Workers" }, ...model.workers.map(worker))
      : el("p", { class: "none" }, "No worker has reported in the last 30 s."));
}

function figure(name, value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, String(value)));
}

function worker(each) {
  const doing = each.state === "ready" ? (each.busy ? "making a video" : "idle") : each.state;
  const line = [el("span", { class: `dot ${each.state}` }), el("span", { class: "name" }, each.name), el("span", { class: "what" }, doing)];
  if (each.state !== "ready" && each.detail) line.push(el("span", { class: "detail" }, each.detail));
  return el("li", {}, ...line);
}
