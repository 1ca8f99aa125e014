/*
 * Sizes and places of everything in a scene.
 *
 * Policy: containers from the inside out get their sizes, then from the outside in their places.  Sizes follow from the
 * number of characters alone, not from the browser's fonts, so that a picture is the same everywhere.
 */

const HEADER = 26; // of an open container
const PADDING = 16;
const STUB_HEIGHT = 17;
const STUB_GAP = 14; // between the stubs and their item
const MOST_LINES = 3;

function arrange(model, scene) {
  for (const item of scene.items) measure(item);
  const inward = [...scene.levels].sort((a, b) => b.depth - a.depth);
  for (const container of inward) layContainer(container);
  model.root.x = 0;
  model.root.y = 0;
  for (const container of inward.reverse()) settle(scene, container);
  scene.width = model.root.width;
  scene.height = model.root.height;
}

function textWidth(text, size) {
  let units = 0;
  for (const character of text) units += character.codePointAt(0) > 0x2e80 ? 1.05 : 0.58;
  return units * size;
}

function labelOf(item) {
  if (!item.isBox) return item.lines.length > 0 ? item.lines : [localName(item)];
  const count = item.members === 1 ? "1 op" : `${item.members.toLocaleString("en")} ops`;
  return [item.isGroup ? item.label : item.label || item.name, count];
}

/* The item itself, and the stubs to the left of it. */
function measure(item) {
  item.texts = labelOf(item).slice(0, MOST_LINES).map((line) => shortened(line, 30));
  let width = item.isBox ? 64 : 44;
  item.texts.forEach((text, i) => { width = Math.max(width, textWidth(text, i === 0 ? 12 : 10) + 18); });
  item.boxWidth = Math.ceil(width + (item.isBox ? 22 : 0));
  item.boxHeight = 12 + 13 * item.texts.length + (item.isBox ? 6 : 0);
  const stubs = item.stubs;
  item.stubWidth = 0;
  for (const stub of stubs) item.stubWidth = Math.max(item.stubWidth, Math.ceil(textWidth(stub.label, 10) + 14));
  item.left = stubs.length > 0 ? item.stubWidth + STUB_GAP : 0;
  item.width = item.boxWidth + item.left;
  item.height = Math.max(item.boxHeight, stubs.length * STUB_HEIGHT);
}

function layContainer(container) {
  mergePorts(container, "into");
  mergePorts(container, "from");
  const { level } = container;
  const ports = [...level.into.values(), ...level.from.values()].filter((port) => port.merged === port);
  const vertices = [...container.children, ...ports];
  const number = new Map(vertices.map((vertex, i) => [vertex.id, i]));
  const sizes = vertices.map((v) => (v.isPort ? { width: 8, height: 0, port: v.side } : v));
  level.drawn = [...level.bundles.values()];
  const edges = level.drawn.map((bundle) => ({
    tail: number.get(bundle.tail.id),
    head: number.get(bundle.head.id),
    tailShift: attachment(bundle.tail, "from", `to ${bundle.head.id}`),
    headShift: attachment(bundle.head, "into", `by ${bundle.tail.id}`),
  }));
  const laid = layLevel(sizes, edges);
  edges.forEach((edge, i) => {
    level.drawn[i].points = edge.points;
    level.drawn[i].back = edge.back;
  });
  const heading = container.parent === null ? 0 : textWidth(labelOf(container)[0], 12) + 60;
  container.width = Math.max(laid.width, heading) + 2 * PADDING;
  container.height = laid.height + HEADER + 2 * PADDING;
  container.left = 0;
  container.boxWidth = container.width;
  container.boxHeight = container.height;
  level.inset = PADDING + (container.width - 2 * PADDING - laid.width) / 2;
  vertices.forEach((vertex, i) => { vertex.at = laid.at[i]; });
  for (const port of ports) port.x = level.inset + port.at.x;
}

/* Too many ports on one side become one, and with them the bundles that lead there. */
function mergePorts(container, side) {
  const { level } = container;
  const ports = [...level[side].values()];
  const shared = ports.length > MOST_PORTS ? ports[0] : null;
  for (const port of ports) port.merged = shared || port;
  if (shared === null) return;
  const bundles = new Map();
  for (const bundle of level.bundles.values()) {
    if (bundle.tail.isPort) bundle.tail = bundle.tail.merged || bundle.tail;
    if (bundle.head.isPort) bundle.head = bundle.head.merged || bundle.head;
    const key = `${bundle.tail.id}|${bundle.head.id}`;
    const same = bundles.get(key);
    if (same === undefined) bundles.set(key, bundle);
    else joinBundles(same, bundle);
  }
  level.bundles = bundles;
}

function joinBundles(into, bundle) {
  for (const edge of bundle.edges) into.edges.push(edge);
  into.bytes += bundle.bytes;
  into.starts = into.starts || bundle.starts;
  into.ends = into.ends || bundle.ends;
  if (bundle.kind !== "control") into.kind = bundle.kind;
}

/* Where on an item an edge begins or ends, from the middle of all that belongs to it. */
function attachment(item, side, key) {
  if (item.isPort) return 0;
  const port = portOf(item, side, key);
  if (port === undefined) return item.left / 2;
  return port.merged.x - item.width / 2;
}

/* Absolute places of what is in a container whose own place is known. */
function settle(scene, container) {
  const { level } = container;
  const dx = container.x + level.inset;
  const dy = container.y + HEADER + PADDING;
  for (const child of container.children) {
    child.x = dx + child.at.x - child.width / 2 + child.left;
    child.y = dy + child.at.y - child.boxHeight / 2;
  }
  for (const bundle of level.drawn) {
    bundle.points = bundle.points.map(([x, y]) => [x + dx, y + dy]);
    if (bundle.back) bundle.points = roundAbout(bundle);
    if (bundle.tail.isPort) bundle.points.unshift([bundle.points[0][0], container.y]);
    else if (!bundle.back) fitEnd(bundle, 0, bundle.tail);
    const last = bundle.points.length - 1;
    if (bundle.head.isPort) bundle.points.push([bundle.points[last][0], container.y + container.height]);
    else if (!bundle.back) fitEnd(bundle, last, bundle.head);
    bundle.points = bundle.points.filter((p, i, all) => i === 0 || Math.hypot(p[0] - all[i - 1][0], p[1] - all[i - 1][1]) > 0.5);
    scene.bundles.push(bundle);
  }
}

/* Against the direction: out at the foot, up beside both, and in at the head as all others. */
function roundAbout({ tail, head, points }) {
  const [out, into] = [points[0][0], points[points.length - 1][0]];
  const [foot, top] = [tail.y + tail.boxHeight, head.y];
  const beside = Math.max(tail.x + tail.boxWidth, head.x + head.boxWidth) + PADDING / 2;
  return [[out, foot], [out, foot + 4], [beside, foot + 4], [beside, top - 4], [into, top - 4], [into, top]];
}

/* The layout knows an item with its stubs; the edge ends at the item itself. */
function fitEnd(bundle, at, item) {
  const point = bundle.points[at];
  const above = point[1] < item.y + item.boxHeight / 2;
  bundle.points[at] = [point[0], above ? item.y : item.y + item.boxHeight];
}

/* Pairs of items of one container that lie over each other: none, if the layout is right. */
function countOverlaps(scene) {
  let overlaps = 0;
  for (const container of scene.levels) {
    const sorted = [...container.children].sort((a, b) => a.y - b.y);
    for (let i = 0; i < sorted.length; i++) {
      const a = sorted[i];
      for (let j = i + 1; j < sorted.length && sorted[j].y < a.y + a.boxHeight; j++) {
        const b = sorted[j];
        if (a.x - a.left < b.x + b.boxWidth && b.x - b.left < a.x + a.boxWidth) overlaps++;
      }
    }
  }
  return overlaps;
}
