// Where nodes and edges are: the same for the same structure, on every load.

export const NODE = { width: 172, height: 46 };
export const LABEL_HEIGHT = 21;
export const TITLE = 26; // where it begins in a label
const MOST_TITLE = 30; // characters
const MONO = 6.65; // width of one, at 11 px
const FIGURES = 100; // room for rate and duration
const MOST_WITH_FIGURES = 60; // edges
const ISOLATED_PER_ROW = 5;
const GAP = 22;
const KEPT = 6;
const STORE = "ops-map-layouts";

export function shortTitle(title) {
  return title.length > MOST_TITLE ? `${title.slice(0, MOST_TITLE - 1)}…` : title;
}

// Where figures begin in a label: after its glyph and title.
export function titleEnd(title) {
  return TITLE + shortTitle(title).length * MONO + 9;
}

// On a crowded map figures are in the title alone, which shows where the pointer rests.
export function isCrowded(map) {
  return map.edges.length > MOST_WITH_FIGURES;
}

export function labelWidth(title, crowded) {
  return titleEnd(title) + (crowded ? 0 : FIGURES);
}

// Text that is the same exactly if nodes and edges are.
export function structureOf(map) {
  return JSON.stringify([map.nodes.map((node) => node.id), map.edges.map((edge) => [edge.id, edge.title])]);
}

function hash(text) {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  return `${(value >>> 0).toString(36)}-${text.length}`;
}

function stored() {
  try {
    const found = JSON.parse(localStorage.getItem(STORE));
    return Array.isArray(found) ? found : [];
  } catch (error) {
    if (error instanceof SyntaxError) return []; // written by somebody else
    throw error;
  }
}

export function layout(map) {
  const key = hash(structureOf(map));
  const known = stored();
  const found = known.find((each) => each.key === key);
  if (found) return found.places;
  const places = place(map);
  localStorage.setItem(STORE, JSON.stringify([{ key, places }, ...known].slice(0, KEPT)));
  return places;
}

function place(map) {
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "TB", nodesep: 30, edgesep: 16, ranksep: 24, marginx: 20, marginy: 16 });
  const used = new Set(map.edges.flatMap((edge) => [edge.source, edge.target]));
  for (const node of map.nodes) if (used.has(node.id)) graph.setNode(`n${node.id}`, { ...NODE });
  for (const edge of map.edges) {
    const label = { width: labelWidth(edge.title, isCrowded(map)), height: LABEL_HEIGHT, labelpos: "c" };
    graph.setEdge(`n${edge.source}`, `n${edge.target}`, label, edge.id);
  }
  dagre.layout(graph);
  const size = used.size ? { width: graph.graph().width, height: graph.graph().height } : { width: 0, height: 0 };
  const nodes = {};
  for (const node of map.nodes) {
    if (used.has(node.id)) {
      const { x, y } = graph.node(`n${node.id}`);
      nodes[node.id] = { x: Math.round(x), y: Math.round(y) };
    }
  }
  putIsolated(map.nodes.filter((node) => !used.has(node.id)), nodes, size);
  const routes = map.edges.map((edge) => {
    const found = graph.edge(`n${edge.source}`, `n${edge.target}`, edge.id);
    return { edge, points: found.points.slice(1, -1), label: { x: Math.round(found.x), y: Math.round(found.y) } };
  });
  return { ...size, nodes, edges: draw(routes, nodes) };
}

// Nodes without edges, in rows below the others.
function putIsolated(isolated, nodes, size) {
  if (!isolated.length) return;
  const across = Math.min(isolated.length, ISOLATED_PER_ROW);
  const width = across * (NODE.width + GAP) - GAP + 40;
  const left = Math.max(20, (size.width - width) / 2 + 20);
  const top = size.height ? size.height + 8 : 16;
  isolated.forEach((node, number) => {
    nodes[node.id] = {
      x: Math.round(left + (number % across) * (NODE.width + GAP) + NODE.width / 2),
      y: Math.round(top + Math.floor(number / across) * (NODE.height + GAP) + NODE.height / 2),
    };
  });
  size.width = Math.max(size.width, width);
  size.height = top + Math.ceil(isolated.length / across) * (NODE.height + GAP);
}

// Paths from node to node through the label; ends are spread along the sides of nodes.
function draw(routes, nodes) {
  const sides = new Map();
  const join = (node, side, end) => {
    const key = JSON.stringify([node, side]);
    if (!sides.has(key)) sides.set(key, []);
    sides.get(key).push(end);
  };
  const found = {};
  for (const { edge, points, label } of routes) {
    const source = nodes[edge.source];
    const target = nodes[edge.target];
    const via = points.length ? points.map(({ x, y }) => ({ x, y })) : [label];
    if (edge.source === edge.target) {
      found[edge.id] = { ...label, path: loop(source, label), arrow: null };
      continue;
    }
    const isDown = target.y > source.y;
    const route = { via, isDown, label };
    found[edge.id] = route;
    join(edge.source, isDown ? "below" : "above", { toward: via[0].x, put: (x) => { route.from = { x, y: source.y + (isDown ? 1 : -1) * NODE.height / 2 }; } });
    join(edge.target, isDown ? "above" : "below", { toward: via.at(-1).x, put: (x) => { route.to = { x, y: target.y - (isDown ? 1 : -1) * NODE.height / 2 }; } });
  }
  for (const [key, ends] of sides) {
    const { x } = nodes[JSON.parse(key)[0]];
    const room = NODE.width - 40;
    ends.sort((one, other) => one.toward - other.toward);
    const step = Math.min(26, room / ends.length);
    // As near to where they go as there is room, in their order.
    const middle = ends.reduce((sum, end) => sum + end.toward, 0) / ends.length;
    const spread = (step * (ends.length - 1)) / 2;
    const centre = Math.max(x - room / 2 + spread, Math.min(x + room / 2 - spread, middle));
    ends.forEach((end, number) => end.put(centre - spread + number * step));
  }
  for (const [id, route] of Object.entries(found)) {
    if (!route.via) continue;
    const sign = route.isDown ? 1 : -1;
    const tip = { x: route.to.x, y: route.to.y - sign * 1.5 };
    const base = tip.y - sign * 7;
    found[id] = {
      ...route.label,
      path: curve([route.from, ...route.via, { x: tip.x, y: base }]),
      arrow: `M${n(tip.x)} ${n(tip.y)}L${n(tip.x - 3.5)} ${n(base)}H${n(tip.x + 3.5)}Z`,
    };
  }
  return found;
}

function n(value) {
  return Math.round(value * 10) / 10;
}

// Upright at every point, so that it is smooth.
function curve(points) {
  let path = `M${n(points[0].x)} ${n(points[0].y)}`;
  for (let at = 1; at < points.length; at++) {
    const from = points[at - 1];
    const to = points[at];
    const bend = (to.y - from.y) / 2;
    path += `C${n(from.x)} ${n(from.y + bend)} ${n(to.x)} ${n(to.y - bend)} ${n(to.x)} ${n(to.y)}`;
  }
  return path;
}

function loop(node, label) {
  const right = node.x + NODE.width / 2;
  const far = Math.max(label.x, right + 30);
  return `M${right} ${node.y - 10}C${n(far)} ${node.y - 34} ${n(far)} ${node.y + 34} ${right} ${node.y + 10}`;
}
