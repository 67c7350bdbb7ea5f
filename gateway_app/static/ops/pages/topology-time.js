// The slider: while it is dragged the map shows what was; let go, the address says when.

const SETTLED = 150;
const STEP_TIME = 350;

// Returns whether what comes by the stream is to wait, as the map shows something else.
export function slider(preview) {
  const input = document.getElementById("map-slider");
  const button = document.getElementById("map-play");
  const shown = document.getElementById("map-instant");
  const frozen = document.body.dataset.at;
  let isMoved = false;
  let isPlaying = false;
  let timer = 0;

  const day = () => document.getElementById("map-day").dataset;
  const last = () => Number(day().steps);
  const instant = (position) => new Date((Number(day().began) + position * Number(day().step)) * 1000);
  const words = (position) => position >= last() ? "now" : instant(position).toISOString().slice(11, 16);

  function address(position) {
    const url = new URL(location);
    if (position >= last()) url.searchParams.delete("at");
    else url.searchParams.set("at", instant(position).toISOString().replace(".000", ""));
    return url;
  }

  function say() {
    const text = words(Number(input.value));
    input.setAttribute("aria-valuetext", text);
    shown.textContent = text === "now" ? "now" : `at ${text}`;
  }

  function place() {
    input.max = last();
    const at = frozen ? Date.parse(frozen) / 1000 : Infinity;
    const position = (at - Number(day().began)) / Number(day().step);
    input.value = Math.max(0, Math.min(last(), Math.round(position)));
    say();
    if (frozen) shown.textContent = `at ${frozen.slice(11, 16)}`;
  }

  async function look() {
    const url = address(Number(input.value));
    url.searchParams.set("regions", "1");
    const answer = await fetch(url);
    if (!answer.ok) return;
    const text = await answer.text();
    if (isMoved) preview(text);
  }

  function go() {
    const url = address(Number(input.value));
    if (url.href !== location.href) location.assign(url);
    else isMoved = false;
  }

  async function play() {
    if (isPlaying) { isPlaying = false; go(); return; }
    isPlaying = isMoved = true;
    button.querySelector("span").textContent = "Stop";
    if (Number(input.value) >= last()) input.value = 0;
    while (isPlaying && Number(input.value) < last()) {
      input.value = Number(input.value) + 1;
      say();
      await Promise.all([look(), new Promise((done) => { setTimeout(done, STEP_TIME); })]);
    }
    if (isPlaying) { isPlaying = false; go(); }
    button.querySelector("span").textContent = "Play";
  }

  input.addEventListener("input", () => {
    isMoved = true;
    say();
    clearTimeout(timer);
    timer = setTimeout(look, SETTLED);
  });
  input.addEventListener("change", () => { clearTimeout(timer); if (!isPlaying) go(); });
  button.addEventListener("click", play);
  input.hidden = button.hidden = false;
  place();
  return { isMoved: () => isMoved, place: () => { if (!isMoved) place(); } };
}
