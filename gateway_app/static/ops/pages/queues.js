// Both charts are drawn from the rows of their table, so that they show the same numbers.

const region = document.getElementById("region-depths");
const depth = document.querySelector("[data-chart='depth']");
const flow = document.querySelector("[data-chart='flow']");
const HEIGHT = { wide: 260, narrow: 200 };
const HIDDEN = { show: false };
// Between two names of markers.
const GAP = 12;

function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function bandColor(name) {
  return token(name === "all" ? "unknown" : name.toLowerCase());
}

function number(cell) {
  const text = cell.textContent;
  return text === "" ? null : Number(text);
}

// Columns of the table: instants, bands, waiting, in, out.
function read() {
  const table = region.querySelector("[data-testid='depth-table']");
  const bands = table.dataset.bands.split(" ");
  const rows = [...table.tBodies[0].rows];
  const columns = bands.concat("waiting", "in", "out").map(
    (_, place) => rows.map((row) => number(row.cells[place + 1])),
  );
  const markers = [...region.querySelectorAll("[data-marker]")].map((each) => ({
    at: Number(each.dataset.marker), state: each.dataset.state, text: each.textContent,
  }));
  return { at: rows.map((row) => Number(row.dataset.at)), bands, columns, markers };
}

// Each band on top of those below it; a gap is one of all.
function stacked(columns) {
  let below = null;
  return columns.map((column) => {
    below = column.map((value, place) => (value === null ? null : value + (below ? below[place] : 0)));
    return below;
  });
}

// Of an instant in UTC: the time, or the day as well where a time alone is not plain.
function instant(plot, at) {
  const text = new Date(at * 1000).toISOString();
  const isLong = plot.scales.x.max - plot.scales.x.min > 90_000;
  return isLong ? `${text.slice(5, 10)} ${text.slice(11, 16)}` : text.slice(11, 16);
}

function axes() {
  const style = { stroke: token("faint"), font: '11px "Inter", system-ui, sans-serif', ticks: { show: false } };
  const grid = { stroke: token("line"), width: 1 };
  const time = (plot, instants) => instants.map((at) => {
    const text = new Date(at * 1000).toISOString();
    return plot.scales.x.max - plot.scales.x.min > 90_000 ? text.slice(5, 10) : text.slice(11, 16);
  });
  return [
    { ...style, grid: { show: false }, values: time, space: 70, size: 30 },
    { ...style, grid, size: 44, space: 40 },
  ];
}

function drawMarkers(markers, isNamed) {
  return (plot) => {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    let free = bbox.left;
    ctx.save();
    ctx.font = `${11 * ratio}px "Inter", system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.lineWidth = ratio;
    ctx.setLineDash([3 * ratio, 3 * ratio]);
    for (const each of [...markers].sort((one, other) => one.at - other.at)) {
      if (each.at < plot.scales.x.min || each.at > plot.scales.x.max) continue;
      const x = Math.round(plot.valToPos(each.at, "x", true));
      const isDeploy = each.state === "deploy";
      const name = each.state.toLowerCase();
      ctx.strokeStyle = token(isDeploy ? "accent" : name);
      ctx.fillStyle = token(isDeploy ? "accent" : `${name}-text`);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      if (!isNamed) continue;
      const width = ctx.measureText(each.text).width + GAP * ratio;
      const isRight = x + width < bbox.left + bbox.width;
      const left = isRight ? x : x - width;
      if (left < free) continue; // no room: the list above the table names it
      ctx.fillText(each.text, left + (GAP * ratio) / 2, bbox.top + 11 * ratio);
      free = left + width;
    }
    ctx.restore();
  };
}

// What is said where the pointer is: the numbers themselves, not those they are stacked to.
function tip(names, columns) {
  const box = document.createElement("div");
  box.className = "tip hidden";
  return {
    hooks: {
      init: (plot) => { plot.over.append(box); },
      setCursor: (plot) => {
        const { idx, left } = plot.cursor;
        const isAway = idx === null || idx === undefined || left < 0;
        box.classList.toggle("hidden", isAway);
        if (isAway) return;
        const lines = [["", instant(plot, plot.data[0][idx])]];
        names.forEach((name, place) => lines.push([name, columns[place][idx] ?? "–"]));
        box.replaceChildren(...lines.map(([name, value]) => {
          const line = document.createElement("div");
          for (const text of name ? [name, value] : [value]) {
            line.append(Object.assign(document.createElement("span"), { textContent: text }));
          }
          return line;
        }));
        const isRight = left > plot.over.clientWidth / 2;
        box.style.left = isRight ? "" : `${left + 12}px`;
        box.style.right = isRight ? `${plot.over.clientWidth - left + 12}px` : "";
        box.style.top = "8px";
      },
    },
  };
}

function options(element, series, plugins, bands) {
  return {
    width: Math.max(200, element.clientWidth - 20),
    height: innerWidth > 760 ? HEIGHT.wide : HEIGHT.narrow,
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "UTC"),
    legend: { show: false },
    cursor: { y: false, drag: { setScale: false, x: false, y: false }, points: { show: false } },
    scales: { x: { time: true }, y: { range: (_, __, top) => [0, Math.max(1, top * 1.08)] } },
    axes: axes(),
    series: [{}, ...series],
    bands,
    plugins,
  };
}

function put(element, build, data) {
  element.plot?.destroy();
  element.plot = new uPlot(build, data, element);
}

function draw() {
  const { at, bands, columns, markers } = read();
  const counts = columns.slice(0, bands.length);
  const marked = (isNamed) => ({ hooks: { draw: drawMarkers(markers, isNamed) } });
  const layers = bands.map((name) => {
    const stroke = bandColor(name);
    return { label: name, stroke, width: 1.3, fill: `${stroke}44`, points: HIDDEN };
  });
  const between = bands.slice(1).map((_, place) => ({ series: [place + 2, place + 1] }));
  put(depth, options(depth, layers, [tip(bands, counts), marked(true)], between), [at, ...stacked(counts)]);
  const [came, went] = columns.slice(bands.length + 1);
  const lines = [
    { label: "in", stroke: token("muted"), width: 1.3, dash: [4, 3], points: HIDDEN },
    { label: "out", stroke: token("up"), width: 1.5, points: HIDDEN },
  ];
  put(flow, options(flow, lines, [tip(["in", "out"], [came, went]), marked(false)], []), [at, came, went]);
}

let isDue = false;
function drawSoon() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => { isDue = false; draw(); });
}

new MutationObserver(drawSoon).observe(region, { childList: true, subtree: true, characterData: true });
new MutationObserver(drawSoon).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);
addEventListener("resize", drawSoon);
draw();

// The row whose button opens the dialog is the one it is about.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-choose]");
  const choice = document.querySelector("#pause [name=service]");
  if (opener && choice) choice.value = opener.dataset.choose;
});
