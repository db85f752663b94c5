// The few words in which the page builds its elements. Text is always text: nothing is ever parsed as HTML.

export const $ = (id) => document.getElementById(id);

/** An element with properties (`class`, `on` listeners, `aria-…` and `data-…` attributes) and children. */
export function el(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else if (key === "on") for (const [event, heard] of Object.entries(value)) made.addEventListener(event, heard);
    else if (key.includes("-")) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

export function show(element, shown) {
  element.hidden = !shown;
}

/** What went wrong with something that has no place of its own to say so; nothing when it is over. */
export function warn(words = "") {
  $("away").textContent = words;
  show($("away"), Boolean(words));
}

export function seconds(count) {
  if (count < 90) return `${Math.max(1, Math.round(count))} s`;
  if (count < 5400) return `${Math.round(count / 60)} min`;
  return `${(count / 3600).toFixed(1)} h`;
}

export function ago(unixSeconds) {
  const age = Math.max(0, Date.now() / 1000 - unixSeconds);
  return age < 20 ? "now" : age < 86400 ? seconds(age) : `${Math.floor(age / 86400)} d`;
}
