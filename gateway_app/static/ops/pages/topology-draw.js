// The map as SVG. What is there is changed in place; it is drawn anew only with another structure.
import { LABEL_HEIGHT, NODE, TITLE, isCrowded, labelWidth, layout, shortTitle, structureOf, titleEnd } from "./topology-layout.js";

const SPACE = "http://www.w3.org/2000/svg";
const SPEED = 90; // pixels a second
const MOST_MOVING = 120; // on the whole map
const HEAD = 34; // room above, for zoom and legend
const still = matchMedia("(prefers-reduced-motion: reduce)");

function make(name, attributes = {}, ...children) {
  const element = document.createElementNS(SPACE, name);
  put(element, attributes);
  element.append(...children);
  return element;
}

// Writes only what changes: the browser does nothing for the rest.
function put(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function glyph(priority) {
  const group = make("g", { class: "glyph" });
  if (priority === "CRITICAL") {
    group.append(
      make("rect", { width: 13, height: 13, rx: 3 }),
      make("path", { class: "mark", d: "M5.6 2.6h1.8v5H5.6zM5.6 8.8h1.8v1.7H5.6z" }),
    );
    return group;
  }
  const filled = { HIGH: 3, NORMAL: 2, LOW: 1 }[priority] ?? 0;
  for (let bar = 0; bar < 3; bar++) {
    group.append(make("rect", { class: bar < filled ? "" : "off", x: bar * 5, y: 8 - bar * 4, width: 3, height: 5 + bar * 4, rx: 1 }));
  }
  return group;
}

class Node {
  constructor(node, { x, y }) {
    this.ring = make("g", { class: "ring", transform: "translate(6 5) scale(1.8)" });
    this.up = make("text", { class: "n", x: 24, y: 27 });
    this.name = make("text", { class: "name", y: 20 });
    this.text = make("text", { class: "about", y: 35 });
    this.title = make("title");
    this.badge = make("g", { class: "badge" }, make("rect", { height: 17, y: -9, rx: 5 }), make("text", { y: 3 }));
    this.element = make(
      "a",
      { "class": "node", "data-testid": `map-node-${node.id}`, "transform": `translate(${x - NODE.width / 2} ${y - NODE.height / 2})` },
      this.title, make("rect", { class: "box", width: NODE.width, height: NODE.height, rx: 9 }),
      this.ring, this.up, this.name, this.text, this.badge,
    );
    this.rings = "";
  }

  update(node) {
    put(this.element, { "href": node.url || null, "aria-label": node.label, "class": node.url ? "node" : "node nowhere" });
    say(this.title, node.label);
    const rings = JSON.stringify(node.ring);
    if (rings !== this.rings) {
      this.rings = rings;
      this.ring.replaceChildren(...node.ring.map(([css, path]) => make("path", { class: css, d: path })));
    }
    const left = node.ring.length ? 48 : 14;
    put(this.name, { x: left });
    put(this.text, { x: left });
    say(this.up, node.up.length > 4 ? "" : node.up);
    say(this.name, cut(node.name, node.ring.length ? 17 : 22));
    say(this.text, cut(node.text, node.ring.length ? 23 : 28));
    const badge = node.badge?.text ?? "";
    const width = badge.length * 6 + 12;
    const [box, text] = this.badge.children;
    put(this.badge, { class: badge ? `badge ${node.badge.css}` : "badge hidden" });
    put(box, { width, x: NODE.width - width + 8 });
    put(text, { x: NODE.width - width + 14 });
    say(text, badge);
  }
}

class Edge {
  constructor(edge, place, number, crowded) {
    const width = labelWidth(edge.title, crowded);
    this.path = make("path", { class: "line", id: `map-path-${number}`, d: place.path });
    this.arrow = make("path", { class: "arrow", d: place.arrow ?? "" });
    this.moving = make("g", { class: "moving" });
    this.line = make("g", { class: "edge" }, this.path, this.arrow, this.moving);
    this.glyph = make("g", { transform: "translate(7 4)" });
    this.figures = make("text", { class: crowded ? "figures hidden" : "figures", x: titleEnd(edge.title), y: 14.5 });
    this.title = make("title");
    this.label = make(
      "a",
      {
        "class": "label",
        "data-testid": `map-edge-${edge.source}-${edge.target}-${edge.type}`,
        "transform": `translate(${Math.round(place.x - width / 2)} ${Math.round(place.y - LABEL_HEIGHT / 2)})`,
      },
      this.title, make("rect", { class: "box", width, height: LABEL_HEIGHT, rx: 6 }),
      this.glyph, make("text", { class: "type", x: TITLE, y: 14.5 }, shortTitle(edge.title)), this.figures,
    );
    this.priority = "";
    this.count = 0;
  }

  update(edge, chosen, most) {
    const css = `${edge.priority}${edge.isEvent ? " event" : ""}${edge.id === chosen ? " chosen" : ""}`;
    put(this.line, { "class": `edge ${css}`, "data-state": edge.state });
    put(this.path, { "stroke-width": edge.width });
    put(this.label, {
      "class": `label ${css}`, "data-state": edge.state, "href": edge.url, "aria-label": edge.label,
      "aria-current": edge.id === chosen ? "true" : null,
    });
    say(this.title, edge.label);
    say(this.figures, edge.text);
    if (edge.priority !== this.priority) {
      this.priority = edge.priority;
      this.glyph.replaceChildren(glyph(edge.priority));
    }
    this.move(still.matches ? 0 : Math.min(edge.particles, most));
  }

  move(count) {
    if (count === this.count) return;
    this.count = count;
    if (!count) { this.moving.replaceChildren(); return; }
    const seconds = Math.max(1.6, this.path.getTotalLength() / SPEED);
    this.moving.replaceChildren(...Array.from({ length: count }, (_, number) => {
      const motion = make("animateMotion", {
        dur: `${seconds.toFixed(1)}s`, begin: `${(-seconds * number / count).toFixed(1)}s`, repeatCount: "indefinite",
      }, make("mpath", { href: `#${this.path.id}` }));
      return make("circle", { r: 2.3 }, motion);
    }));
  }
}

function cut(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

export class Drawing {
  constructor(place) {
    this.place = place;
    this.structure = null;
    this.size = { width: 0, height: 0 };
    still.addEventListener("change", () => this.map && this.show(this.map));
  }

  // Returns whether it was drawn anew.
  show(map) {
    this.map = map;
    const structure = structureOf(map);
    const isNew = structure !== this.structure;
    if (isNew) {
      this.structure = structure;
      this.build(map);
    }
    const used = map.edges.filter((edge) => edge.particles).length;
    const most = Math.floor(MOST_MOVING / Math.max(1, used));
    for (const node of map.nodes) this.nodes.get(node.id).update(node);
    for (const edge of map.edges) this.edges.get(edge.id).update(edge, map.chosen, most);
    return isNew;
  }

  build(map) {
    const places = layout(map);
    this.size = { width: Math.ceil(places.width), height: Math.ceil(places.height) + HEAD };
    this.nodes = new Map(map.nodes.map((node) => [node.id, new Node(node, places.nodes[node.id])]));
    this.edges = new Map(map.edges.map((edge, number) => [edge.id, new Edge(edge, places.edges[edge.id], number, isCrowded(map))]));
    const edges = [...this.edges.values()];
    this.svg = make(
      "svg", { viewBox: `0 ${-HEAD} ${this.size.width} ${this.size.height}`, role: "group" },
      make("g", {}, ...edges.map((edge) => edge.line)),
      make("g", {}, ...[...this.nodes.values()].map((node) => node.element)),
      make("g", {}, ...edges.map((edge) => edge.label)),
    );
    this.place.replaceChildren(this.svg);
  }
}
