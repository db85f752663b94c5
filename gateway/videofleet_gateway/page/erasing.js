// Erasing everything of the tenant: its name has to be typed, because nothing brings the videos back.

import * as api from "./api.js";
import { $, show } from "./dom.js";

let tenant = "";

export function offer(usage) {
  tenant = usage.tenant;
  $("erase-name").textContent = tenant;
  show($("erase"), true);
}

export function listen(erased) {
  $("erase").addEventListener("click", () => {
    $("erase-fault").textContent = "";
    $("erase-tenant").value = "";
    $("erase-dialog").showModal();
  });
  $("erase-cancel").addEventListener("click", () => $("erase-dialog").close());
  $("erase-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if ($("erase-tenant").value.trim() !== tenant) return void ($("erase-fault").textContent = `Type ${tenant} to go on.`);
    try {
      const told = await api.erase(tenant);
      $("erase-dialog").close();
      erased(told);
    } catch (error) {
      $("erase-fault").textContent = error.message;
    }
  });
}
