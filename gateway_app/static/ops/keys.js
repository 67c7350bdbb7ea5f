// Keys; never while somebody types.

const pages = { o: "overview", t: "topology", q: "queues", h: "health", d: "dead-letters", m: "messages" };
let waitsForPage = false;

function isTyping(event) {
  return event.target.matches("input:not([type=checkbox]), textarea, select, [contenteditable]");
}

function items() {
  const list = document.querySelector("[data-list]");
  return list ? [...list.querySelectorAll("[data-item]")] : [];
}

function move(by) {
  const all = items();
  if (!all.length) return;
  const now = all.findIndex((each) => each.contains(document.activeElement));
  const next = all[Math.min(all.length - 1, Math.max(0, now === -1 ? 0 : now + by))];
  (next.matches("a, button, [tabindex]") ? next : next.querySelector("a, button, [tabindex]"))?.focus();
}

function press(key) {
  // The last that can be seen: a toast comes after the page it tells of, and fades.
  [...document.querySelectorAll(`[data-press="${key}"]:not([disabled])`)]
    .findLast((each) => each.checkVisibility({ visibilityProperty: true }))?.click();
}

function close() {
  document.querySelector("[data-escape]")?.click();
}

function down(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && isTyping(event)) { event.target.blur(); return; }
  if (isTyping(event)) return;
  if (waitsForPage) {
    waitsForPage = false;
    const link = document.querySelector(`.side a[data-page="${pages[event.key]}"]`);
    if (link) { event.preventDefault(); link.click(); }
    return;
  }
  const does = {
    "/": () => document.querySelector("[data-key='/']").focus(),
    "?": () => document.getElementById("help").showModal(),
    g: () => { waitsForPage = true; },
    j: () => move(1),
    k: () => move(-1),
    p: () => document.querySelector("[data-action='pause']").click(),
    r: () => press("r"),
    d: () => press("d"),
    z: () => press("z"),
    Escape: close,
  }[event.key];
  if (!does || (document.querySelector("dialog[open]") && event.key !== "Escape")) return;
  if (event.key !== "Escape") event.preventDefault();
  does();
}

export const keys = { start() { document.addEventListener("keydown", down); } };
