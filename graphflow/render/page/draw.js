/*
 * The scene as SVG.
 *
 * Policy: everything is drawn anew when what is shown changes.  Texts are text nodes, ids are numbers, there is no
 * markup from strings.  Listeners stand on the picture as a whole; an element finds its item by its id.
 */

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const key of Object.keys(attributes)) made.setAttribute(key, attributes[key]);
  made.append(...children);
  return made;
}

/* Fills the four layers; returns the elements by id of their item. */
function drawScene(layers, model, scene, colours) {
  for (const layer of Object.values(layers)) layer.replaceChildren();
  const drawn = new Map();
  for (const container of scene.levels) {
    if (container !== model.root) layers.boxes.append(remember(drawn, container, drawOpen(container)));
  }
  for (const bundle of scene.bundles) {
    bundle.element = drawBundle(bundle);
    layers.edges.append(bundle.element);
  }
  for (const item of scene.items) layers.items.append(remember(drawn, item, drawItem(item, colours)));
  drawLabels(layers.labels, scene);
  return drawn;
}

function remember(drawn, item, group) {
  drawn.set(item.id, group);
  return group;
}

function itemGroup(item, kind, label) {
  return element("g", {
    class: kind, "data-id": item.id, transform: `translate(${round(item.x)} ${round(item.y)})`, tabindex: "0",
    role: "button", "aria-label": label,
  });
}

function round(number) {
  return Math.round(number * 10) / 10;
}

function rectangle(item, radius, name) {
  return element("rect", { width: round(item.boxWidth), height: round(item.boxHeight), rx: radius, class: name });
}

function drawOpen(container) {
  const [label, count] = labelOf(container);
  const group = itemGroup(container, `open k-${container.kind}`, `scope ${label}, ${count}, open`);
  group.setAttribute("aria-expanded", "true");
  group.append(rectangle(container, 10, "frame"));
  group.append(textAt(12, 18, "title", shortened(label, 40)), toggle(container.boxWidth - 16, 14, false));
  return group;
}

function textAt(x, y, name, text) {
  return element("text", { x: round(x), y: round(y), class: name }, text);
}

function toggle(x, y, folded) {
  const arms = folded ? "M-4 0H4M0-4V4" : "M-4 0H4";
  const shape = element("path", { d: arms });
  return element("g", { class: "toggle", transform: `translate(${round(x)} ${round(y)})` }, element("circle", { r: 8 }), shape);
}

function drawItem(item, colours) {
  const kind = item.isBox ? "folded" : item.kind === "fed" ? "op fed" : "op";
  const what = item.isBox ? `scope ${item.texts.join(", ")}, folded` : `${item.texts.join(", ")}, ${item.type}`;
  const group = itemGroup(item, `${kind} ${colours.classOf(item)}${item.bad ? " bad" : ""}`, what);
  if (item.isBox) {
    group.setAttribute("aria-expanded", "false");
    group.append(element("rect", { x: 4, y: 4, width: round(item.boxWidth), height: round(item.boxHeight), rx: 9, class: "behind" }));
  }
  group.append(rectangle(item, item.isBox ? 9 : 6, "frame"));
  const middle = (item.boxWidth - (item.isBox ? 18 : 0)) / 2;
  const top = (item.boxHeight - 13 * item.texts.length) / 2;
  item.texts.forEach((text, i) => {
    group.append(textAt(middle, top + 10.5 + 13 * i, i === 0 ? "name" : "more", text));
  });
  if (item.isBox) group.append(toggle(item.boxWidth - 14, item.boxHeight / 2, true));
  drawStubs(group, item);
  return group;
}

function drawStubs(group, item) {
  const top = (item.boxHeight - item.stubs.length * STUB_HEIGHT) / 2;
  item.stubs.forEach((stub, i) => {
    const y = top + i * STUB_HEIGHT;
    const middle = y + STUB_HEIGHT / 2;
    const [half, centre] = [-STUB_GAP / 2, item.boxHeight / 2];
    const line = element("path", { d: `M${-STUB_GAP} ${middle}C${half} ${middle} ${half} ${centre} 0 ${centre}` });
    const box = element("rect", {
      x: -STUB_GAP - item.stubWidth, y: y + 1, width: item.stubWidth, height: STUB_HEIGHT - 2, rx: stub.kind === "variable" ? 8 : 3,
    });
    const text = textAt(-STUB_GAP - item.stubWidth / 2, y + 12, "stub", stub.label);
    group.append(element("g", { class: `stub k-${stub.kind}`, "data-stub": i }, line, box, text));
  });
}

function drawBundle(bundle) {
  const width = bundle.kind === "control" ? 1 : 1 + Math.min(5, Math.max(0, Math.log2(1 + bundle.bytes / 4096) / 3));
  const path = element("path", { d: pathOf(bundle.points), "stroke-width": round(width), class: `edge e-${bundle.kind}` });
  if (bundle.ends && !(bundle.head.isBox && bundle.head.cover === null)) path.setAttribute("marker-end", "url(#arrow)");
  const tails = bundleLabel(bundle);
  path.append(element("title", {}, `${bundle.edges.length} ${bundle.edges.length === 1 ? "edge" : "edges"}${tails ? `, ${tails}` : ""}`));
  return path;
}

/* Straight where it goes straight on, else a curve that leaves and arrives upright; round where it comes back up. */
function pathOf(points) {
  let path = `M${round(points[0][0])} ${round(points[0][1])}`;
  for (let i = 1; i < points.length; i++) {
    const [x0, y0] = points[i - 1];
    const [x, y] = points[i];
    if (Math.abs(x - x0) < 0.5) path += `L${round(x)} ${round(y)}`;
    else {
      const bend = Math.max(Math.abs(y - y0) / 2, 12);
      const leaves = direction(points, i - 1) * bend;
      const arrives = direction(points, i + 1) * bend;
      path += `C${round(x0)} ${round(y0 + leaves)} ${round(x)} ${round(y - arrives)} ${round(x)} ${round(y)}`;
    }
  }
  return path;
}

/* Whether the stretch that ends at a point goes up (-1) or down; where there is none, down. */
function direction(points, end) {
  return end >= 1 && end < points.length && points[end][1] < points[end - 1][1] ? -1 : 1;
}

/* Beside the edges, and only where there is room: what has none is in the tooltip. */
function drawLabels(layer, scene) {
  const taken = new Map();
  for (const item of scene.items) occupy(taken, item.x - item.left, item.y, item.boxWidth + item.left, item.boxHeight);
  for (const bundle of scene.bundles) {
    const text = shortened(bundleLabel(bundle), 22);
    if (text === "" || bundle.tail.isPort || bundle.head.isPort) continue;
    const [x, y] = labelPoint(bundle.points);
    const width = textWidth(text, 9.5) + 4;
    if (isTaken(taken, x + 4, y - 8, width, 11)) continue;
    occupy(taken, x + 4, y - 8, width, 11);
    layer.append(textAt(x + 5, y + 0.5, "edge-label", text));
  }
}

function labelPoint(points) {
  const i = points.findIndex((p, n) => n > 0 && Math.abs(p[1] - points[n - 1][1]) >= 20);
  if (i < 1) return points[points.length - 1];
  return [(points[i][0] + points[i - 1][0]) / 2, (points[i][1] + points[i - 1][1]) / 2];
}

const TILE = 120;

function tilesOf(x, y, width, height) {
  const tiles = [];
  for (let i = Math.floor(x / TILE); i <= Math.floor((x + width) / TILE); i++) {
    for (let j = Math.floor(y / TILE); j <= Math.floor((y + height) / TILE); j++) tiles.push(`${i} ${j}`);
  }
  return tiles;
}

function occupy(taken, x, y, width, height) {
  for (const tile of tilesOf(x, y, width, height)) {
    if (!taken.has(tile)) taken.set(tile, []);
    taken.get(tile).push([x, y, width, height]);
  }
}

function isTaken(taken, x, y, width, height) {
  return tilesOf(x, y, width, height).some((tile) =>
    (taken.get(tile) || []).some((r) => x < r[0] + r[2] && r[0] < x + width && y < r[1] + r[3] && r[1] < y + height));
}
