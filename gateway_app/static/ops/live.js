// The stream: what has come is shown, unless somebody is at work in that part of the page.

const STALE_AFTER = 10_000;
const POLL_EVERY = 5_000;
const POLL_IDLE = 15_000;
const IDLE_AFTER = 300_000;

const source = document.getElementById("live");
const pill = document.querySelector("[data-testid='live-pill']");
const word = pill.querySelector("[data-live-word]");
const time = pill.querySelector("[data-live-time]");
const words = { live: "Live", reconnecting: "Reconnecting", polling: "Polling", paused: "Paused" };
const held = new Map(); // region id → the newest that has come for it while it was in use
let heardAt = Date.now();
let usedAt = Date.now();
let isPaused = false;

function show(mode) {
  pill.dataset.mode = mode;
  word.textContent = mode === "stale" ? `Stale since ${time.textContent}` : words[mode];
  document.body.dataset.stale = mode === "stale";
}

function heard(clock) {
  heardAt = Date.now();
  time.textContent = clock;
  if (!isPaused) show(source.dataset.streamed === "true" ? "live" : "polling");
}

function isInUse(region) {
  if (isPaused) return true;
  if (region.id === "region-nav") return false;
  const selection = getSelection();
  if (selection && !selection.isCollapsed && region.contains(selection.anchorNode)) return true;
  if (region.querySelector("dialog[open], details[open] form, :popover-open, [type=checkbox]:checked")) return true;
  if (region.contains(document.activeElement) && document.activeElement !== document.body) return true;
  return region.matches(":hover") && region.querySelector(".list, table") !== null;
}

function mark(region) {
  let sign = region.querySelector(":scope > .changes");
  if (!sign) {
    sign = document.createElement("div");
    sign.className = "changes";
    sign.dataset.testid = "changes";
    region.prepend(sign);
  }
  const count = Number(sign.dataset.count || 0) + 1;
  sign.dataset.count = count;
  sign.textContent = `${count} new`;
}

// Takes out of a message what cannot be shown now, and keeps it.
function hold(text) {
  const parsed = new DOMParser().parseFromString(text, "text/html");
  let left = "";
  for (const part of parsed.querySelectorAll("hx-partial")) {
    const region = document.querySelector(part.getAttribute("hx-target"));
    if (!region) continue;
    if (isInUse(region)) {
      held.set(region.id, part.outerHTML);
      if (!isPaused) mark(region);
    } else {
      held.delete(region.id);
      delete region.dataset.asOf;
      left += part.outerHTML;
    }
  }
  return left;
}

function apply() {
  if (!held.size) return;
  let text = "";
  for (const [id, part] of held) {
    const region = document.getElementById(id);
    if (!region || isInUse(region)) continue;
    held.delete(id);
    text += part;
  }
  swap(text);
}

// Whoever opens a dialog decides by what it says: it has to be of now.
function applyTo(region) {
  const part = region && held.get(region.id);
  if (!part) return;
  held.delete(region.id);
  swap(part);
}

function swap(text) {
  if (text) htmx.swap({ sourceElement: source, target: source, swap: "innerMorph swapEmpty:false", text });
}

function watch() {
  if (isPaused || pill.dataset.mode === "stale") return;
  if (Date.now() - heardAt > STALE_AFTER) show("stale");
}

// Where the server cannot stream.
async function poll() {
  if (!isPaused && !document.hidden) {
    try {
      const response = await fetch(source.dataset.regions);
      if (response.redirected) location.reload(); // to the login
      if (response.ok) {
        swap(hold(await response.text()));
        heard(new Date().toISOString().slice(11, 19));
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the server is away: stale in a moment
    }
  }
  setTimeout(poll, Date.now() - usedAt > IDLE_AFTER ? POLL_IDLE : POLL_EVERY);
}

export const live = {
  start() {
    if (!source) return;
    source.addEventListener("htmx:sse:before:message", (event) => {
      const message = event.detail.message;
      if (message.event) return;
      message.data = hold(message.data);
      if (!message.data) event.preventDefault();
    });
    source.addEventListener("tick", (event) => heard(event.detail.data));
    source.addEventListener("failed", (event) => {
      for (const name of event.detail.data.split(" ")) {
        const region = document.getElementById(`region-${name}`);
        if (region) region.dataset.asOf = time.textContent;
      }
    });
    source.addEventListener("htmx:sse:error", (event) => {
      if (event.detail.status === 401) location.reload();
      else if (!isPaused && pill.dataset.mode !== "stale") show("reconnecting");
    });
    for (const name of ["pointermove", "pointerout", "focusout", "selectionchange"]) {
      document.addEventListener(name, () => { usedAt = Date.now(); setTimeout(apply); }, { passive: true });
    }
    document.addEventListener("beforetoggle", (event) => {
      if (event.newState === "open" && !isPaused) applyTo(event.target.closest("[id^='region-']"));
    }, { capture: true });
    setInterval(watch, 1000);
    if (source.dataset.streamed !== "true") { poll(); return; }
    // Not in the page's own text: htmx would look at it before its extension has come.
    source.setAttribute("hx-sse:connect", source.dataset.connect);
    htmx.process(source);
  },
  toggle() {
    if (!source) return;
    isPaused = !isPaused;
    if (isPaused) show("paused");
    else { heard(time.textContent); apply(); }
  },
};
