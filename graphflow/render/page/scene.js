/*
 * What is drawn at the moment: the items of each open container, the edges between them, and what stands beside them.
 *
 * Policy: an edge is drawn once at each level that it passes: between two items of one container, or from an item to a
 * port on the border of its container, from where the level outside goes on.  Edges between the same two items are one
 * bundle.  Long-distance relations are not drawn as edges: variables, constants, and the forward values that gradients
 * and updates use, become stubs beside the item that uses them; only the first of these per part of the graph is drawn,
 * which ties the two together.  They are all drawn while one of their ends is selected.
 */

const MOST_STUBS = 3; // of one item; more are counted by kind
const MOST_PORTS = 8; // on one side of a container; more share one

function makeScene(model) {
  coverContainers(model);
  const levels = model.containers.filter((c) => c.open && c.cover === null);
  for (const container of levels) container.level = { bundles: new Map(), into: new Map(), from: new Map() };
  const scene = { levels, items: [], stubs: new Map(), bundles: [], references: [] };
  for (const container of levels) {
    for (const child of container.children) if (!(child.isBox && child.cover === null)) scene.items.push(child);
  }
  const tied = firstCrossings(model);
  for (const edge of model.edges) {
    if (!isHidden(model, edge.tail) && !isHidden(model, edge.head)) addEdge(scene, edge, tied);
  }
  for (const item of scene.items) item.stubs = stubsOf(scene.stubs.get(item));
  return scene;
}

/* `cover` of a container: the folded one that hides its inside, or null where its children are drawn. */
function coverContainers(model) {
  for (const container of model.containers) {
    const outer = container.parent === null ? null : container.parent.cover;
    if (outer !== null) container.cover = outer;
    else container.cover = container.open ? null : container;
  }
}

function drawnAs(node) {
  return node.parent.cover === null ? node : node.parent.cover;
}

function crosses(edge) {
  return (edge.tail.kind === "forward" || edge.tail.kind === "fed") && (edge.head.kind === "gradient" || edge.head.kind === "update");
}

/* Of each outermost container, the first edge that comes into it from the forward part. */
function firstCrossings(model) {
  const first = new Map();
  for (const edge of model.edges) {
    if (!crosses(edge) || edge.tail.side) continue;
    const part = `${edge.head.kind} ${edge.head.scope.split("/", 1)[0]}`;
    const best = first.get(part);
    if (best === undefined || edge.head.index < best.head.index) first.set(part, edge);
  }
  return new Set(first.values());
}

function addEdge(scene, edge, tied) {
  const { tail, head } = edge;
  if (tail.side && head.side) return;
  if (tail.side) return addStub(scene, drawnAs(head), tail, edge, "in");
  if (head.side) return addStub(scene, drawnAs(tail), head, edge, "out");
  const from = drawnAs(tail);
  const to = drawnAs(head);
  if (from === to) return undefined;
  if (crosses(edge) && !tied.has(edge) && !areNeighbours(from, to, edge)) {
    scene.references.push(edge);
    return addStub(scene, to, tail, edge, "in");
  }
  return route(edge, from, to);
}

/* Two folded parts of one container are tied by one bundle, however many tensors go between them. */
function areNeighbours(from, to, edge) {
  return from.isBox && to.isBox && from.parent === to.parent && from.parent.children.length <= 12 && !edge.head.side;
}

function addStub(scene, item, node, edge, direction) {
  if (node.parent.cover === item) return; // it is inside, and so is the edge
  let stubs = scene.stubs.get(item);
  if (stubs === undefined) scene.stubs.set(item, (stubs = new Map()));
  if (!stubs.has(node)) stubs.set(node, { kind: SIDES.has(node.kind) ? node.kind : "reference", nodes: [node], direction });
}

function stubsOf(found) {
  if (found === undefined) return [];
  const all = [...found.values()];
  if (all.length <= MOST_STUBS) return all.map((s) => ({ ...s, label: stubLabel(s.nodes[0]) }));
  const kinds = new Map();
  for (const stub of all) kinds.set(stub.kind, [...(kinds.get(stub.kind) || []), ...stub.nodes]);
  return [...kinds].map(([kind, nodes]) => ({
    kind, nodes, direction: "in",
    label: nodes.length === 1 ? stubLabel(nodes[0]) : `${nodes.length} ${kind === "reference" ? "forward value" : kind}s`,
  }));
}

function stubLabel(node) {
  return shortened(localName(node), 18);
}

/* The edge at every level between its two ends. */
function route(edge, from, to) {
  let a = from;
  let b = to;
  const up = [];
  const down = [];
  while (a.depth > b.depth) { up.push(a); a = a.parent; }
  while (b.depth > a.depth) { down.push(b); b = b.parent; }
  while (a.parent !== b.parent) {
    up.push(a);
    a = a.parent;
    down.push(b);
    b = b.parent;
  }
  if (a === b) return;
  addToBundle(a.parent.level, a, b, edge, up.length === 0, down.length === 0);
  enter(a, up, `to ${b.id}`, edge, "from");
  enter(b, down, `by ${a.id}`, edge, "into");
}

/* Inside one end: from port to port, down to the item itself. */
function enter(container, inner, key, edge, side) {
  let outer = container;
  let port = key;
  for (let i = inner.length - 1; i >= 0; i--) {
    const item = inner[i];
    const ports = outer.level[side];
    let found = ports.get(port);
    if (found === undefined) ports.set(port, (found = { id: `${outer.id} ${port}`, isPort: true, side, x: 0 }));
    if (side === "from") addToBundle(outer.level, item, found, edge, i === 0, false);
    else addToBundle(outer.level, found, item, edge, false, i === 0);
    port = found.id;
    outer = item;
  }
}

function addToBundle(level, tail, head, edge, starts, ends) {
  const key = `${tail.id}|${head.id}`;
  let bundle = level.bundles.get(key);
  if (bundle === undefined) {
    bundle = { tail, head, edges: [], bytes: 0, kind: edge.kind, starts, ends, points: null, back: false };
    level.bundles.set(key, bundle);
  }
  bundle.edges.push(edge);
  bundle.bytes += edge.bytes || 0;
  if (edge.kind !== "control") bundle.kind = edge.kind;
}

/* The port of an item that a bundle of the level outside goes on from. */
function portOf(item, side, key) {
  if (!item.isBox || item.cover !== null) return undefined;
  return item.level[side].get(key);
}

function bundleLabel(bundle) {
  const texts = new Set(bundle.edges.filter((e) => e.kind !== "control").map((e) => e.value || e.label));
  const tails = new Set(bundle.edges.map((e) => e.tail));
  if (texts.size === 0) return "";
  if (texts.size === 1 && tails.size === 1) return [...texts][0];
  return `${tails.size} tensors`;
}
