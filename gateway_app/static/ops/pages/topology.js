// The map: drawn from what the server says, changed in place when that changes.
import { Drawing } from "./topology-draw.js";
import { slider } from "./topology-time.js";

const LEAST = 0.35;
const LEAST_NARROW = 0.7; // smaller than this nobody reads it on a telephone
const NARROW = 620;
const FACTOR = 1.25;

const place = document.getElementById("map");
const drawing = new Drawing(place);
let scale = 1;
let isFitted = true;

function read(root) {
  return JSON.parse(root.querySelector("#map-data").textContent);
}

function resize(next) {
  const { width, height } = drawing.size;
  scale = next;
  drawing.svg.setAttribute("width", Math.round(width * scale));
  drawing.svg.setAttribute("height", Math.round(height * scale));
}

function fit() {
  const { width, height } = drawing.size;
  if (!width) return;
  const room = Math.min(place.clientWidth / width, place.clientHeight / height);
  const least = place.clientWidth < NARROW ? LEAST_NARROW : LEAST;
  resize(Math.max(least, Math.min(1, room)));
  isFitted = true;
}

// Keeps what is in the middle there.
function zoom(factor) {
  const x = (place.scrollLeft + place.clientWidth / 2) / scale;
  const y = (place.scrollTop + place.clientHeight / 2) / scale;
  isFitted = false;
  resize(Math.max(LEAST / 2, Math.min(3, scale * factor)));
  place.scrollTo(x * scale - place.clientWidth / 2, y * scale - place.clientHeight / 2);
}

function show(map) {
  if (!map.nodes.length) { place.replaceChildren(); drawing.structure = null; return; }
  if (!drawing.show(map)) return;
  if (isFitted) fit(); else resize(scale);
}

function drag() {
  let from = null;
  place.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse" || event.target.closest("a")) return;
    from = { x: event.clientX + place.scrollLeft, y: event.clientY + place.scrollTop };
    place.setPointerCapture(event.pointerId);
  });
  place.addEventListener("pointermove", (event) => {
    if (from) place.scrollTo(from.x - event.clientX, from.y - event.clientY);
  });
  for (const name of ["pointerup", "pointercancel"]) place.addEventListener(name, () => { from = null; });
}

show(read(document));
const time = slider((text) => {
  show(read(new DOMParser().parseFromString(text, "text/html")));
});
new MutationObserver(() => { if (!time.isMoved()) show(read(document)); }).observe(
  document.getElementById("region-map_data"), { childList: true, characterData: true, subtree: true },
);
new MutationObserver(time.place).observe(
  document.getElementById("region-slider"), { attributes: true, childList: true, subtree: true },
);
new ResizeObserver(() => { if (isFitted && drawing.svg) fit(); }).observe(place);
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", () => {
    if (button.dataset.zoom === "fit") fit();
    else zoom(button.dataset.zoom === "in" ? FACTOR : 1 / FACTOR);
  });
}
drag();
