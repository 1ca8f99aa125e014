/*
 * The tree of name scopes: containers with ops and containers in them.
 *
 * Policy: built from the scopes of the ops; after that only `open` of a container changes, until set-up ops are shown or
 * hidden.  A scope with too many children gets groups of consecutive ones, so that whatever is opened can be drawn.  No
 * recursion: a graph may be deeper than any stack.
 */

const MOST_CHILDREN = 400; // that one container shows at once
const GROUP = 100; // children of a group
const PHASES = ["forward", "gradient", "update", "setup"];

/* The tree of containers, anew; which scopes were open is remembered by name. */
function buildTree(model) {
  const wasOpen = new Set(model.containers.filter((c) => c.open && !c.isGroup).map((c) => c.name));
  const scopes = new Map();
  model.scopes = scopes;
  model.containers = [];
  model.root = newContainer(model, "", "", null);
  scopes.set("", model.root);
  for (const node of model.nodes) {
    if (isHidden(model, node)) continue;
    node.side = isSide(model, node);
    const home = scopeNamed(model, scopes, node.scope);
    node.parent = home;
    if (!node.side) home.children.push(node);
  }
  attachScopes(model);
  for (const node of model.nodes) if (node.parent !== null) node.parent = inTree(node.parent);
  for (const [name, container] of scopes) scopes.set(name, inTree(container));
  for (const container of [...model.containers]) groupChildren(model, container);
  settleTree(model);
  for (const container of model.containers) container.open = container.open || wasOpen.has(container.name);
  model.root.open = true;
}

function newContainer(model, name, label, parent) {
  const container = {
    id: `b${model.containers.length}`, isBox: true, isGroup: false, name, label, parent, depth: 0, children: [],
    members: 0, seconds: null, bytes: null, bad: 0, kind: "forward", device: "", change: "", open: false, cover: null,
    first: Infinity, merged: null, phases: new Map(), devices: new Map(), changes: new Map(),
  };
  model.containers.push(container);
  return container;
}

/* Small things that only serve others; one that serves nobody is drawn like an op. */
function isSide(model, node) {
  const shown = (other) => !SIDES.has(other.kind) && !isHidden(model, other);
  if (!SIDES.has(node.kind)) return false;
  return node.outputs.some((e) => shown(e.head)) || node.inputs.some((e) => shown(e.tail));
}

function scopeNamed(model, scopes, name) {
  let found = scopes.get(name);
  if (found !== undefined) return found;
  const missing = [];
  let outer = name;
  while (found === undefined) {
    missing.push(outer);
    outer = outer.slice(0, Math.max(0, outer.lastIndexOf("/")));
    found = scopes.get(outer);
  }
  while (missing.length > 0) {
    const scope = missing.pop();
    const box = model.boxes.get(scope);
    const label = box !== undefined && box.label !== "" ? box.label : scope.slice(scope.lastIndexOf("/") + 1);
    found = newContainer(model, scope, label, found);
    scopes.set(scope, found);
  }
  return found;
}

/*
 * Each container that has something to show becomes a child, where its first op stands.  A scope that holds nothing but
 * another scope is one with it.
 */
function attachScopes(model) {
  for (let i = model.containers.length - 1; i > 0; i--) {
    const container = model.containers[i];
    for (const child of container.children) container.first = Math.min(container.first, firstOf(child));
    if (container.children.length === 1 && container.children[0].isBox) {
      const only = container.children[0];
      only.label = `${container.label}/${only.label}`;
      container.merged = only;
      container.parent.children.push(only);
    } else if (container.children.length > 0) container.parent.children.push(container);
  }
  for (const container of model.containers) container.children.sort((a, b) => firstOf(a) - firstOf(b));
}

/* The container of the tree that a scope has become: one that is empty is nothing apart from the scope around it. */
function inTree(container) {
  let found = container;
  while (found.children.length === 0 && found.parent !== null) found = found.parent;
  while (found.merged !== null) found = found.merged;
  return found;
}

function firstOf(item) {
  return item.isBox ? item.first : item.index;
}

function groupChildren(model, container) {
  while (container.children.length > MOST_CHILDREN) {
    const groups = [];
    for (let begin = 0; begin < container.children.length; begin += GROUP) {
      const children = container.children.slice(begin, begin + GROUP);
      groups.push(children.length === 1 ? children[0] : newGroup(model, container, children));
    }
    container.children = groups;
  }
}

function newGroup(model, container, children) {
  const group = newContainer(model, container.name, "", container);
  group.isGroup = true;
  group.children = children;
  group.label = `${endLabel(children[0], 0)} … ${endLabel(children[children.length - 1], 1)}`;
  group.first = firstOf(children[0]);
  return group;
}

function endLabel(item, end) {
  if (!item.isBox) return shortened(localName(item), 14);
  return item.isGroup ? item.label.split(" … ")[end] : shortened(item.label, 14);
}

function localName(node) {
  if (node.lines.length > 0) return node.lines[0];
  return node.name.slice(node.name.lastIndexOf("/") + 1) || node.type;
}

function shortened(text, most) {
  const characters = Array.from(text);
  if (characters.length <= most) return text;
  const kept = Math.floor((most - 1) / 2);
  return `${characters.slice(0, most - 1 - kept).join("")}…${characters.slice(characters.length - kept).join("")}`;
}

/* Parents and depths from the top, sums from the bottom. */
function settleTree(model) {
  const order = [model.root];
  for (let i = 0; i < order.length; i++) {
    for (const child of order[i].children) {
      child.parent = order[i];
      child.depth = order[i].depth + 1;
      if (child.isBox) order.push(child);
    }
  }
  model.containers = order;
  for (const node of model.nodes) {
    if (!isHidden(model, node) && node.side) addTo(node.parent, node);
  }
  for (let i = order.length - 1; i >= 0; i--) {
    const container = order[i];
    for (const child of container.children) addTo(container, child);
    container.kind = mostOf(container.phases, "forward");
    container.device = mostOf(container.devices, "");
    container.change = mostOf(container.changes, "");
  }
}

function addTo(container, item) {
  container.members += item.members;
  container.bad = container.bad || item.bad;
  if (item.seconds !== null) container.seconds = (container.seconds || 0) + item.seconds;
  if (item.bytes !== null) container.bytes = (container.bytes || 0) + item.bytes;
  if (item.isBox) {
    for (const [kind, count] of item.phases) increase(container.phases, kind, count);
    for (const [device, count] of item.devices) increase(container.devices, device, count);
    for (const [change, count] of item.changes) increase(container.changes, change, count);
  } else {
    if (PHASES.includes(item.kind)) increase(container.phases, item.kind, item.members);
    increase(container.devices, item.device, item.members);
    if (item.change !== "") increase(container.changes, item.change, item.members);
  }
}

function increase(counts, key, by) {
  counts.set(key, (counts.get(key) || 0) + by);
}

function mostOf(counts, otherwise) {
  let best = otherwise;
  let most = 0;
  for (const [key, count] of counts) {
    if (count > most) [best, most] = [key, count];
  }
  return best;
}

/* Open as much as fits, frames counted: the outermost first, the forward part before the rest, small ones before large ones. */
function openToBudget(model, budget) {
  let shown = model.root.children.length;
  const rank = (c) => [c.depth, PHASES.indexOf(c.kind), c.children.length, c.first];
  const candidates = model.containers.filter((c) => c !== model.root && c.depth <= budget);
  candidates.sort((a, b) => compareLists(rank(a), rank(b)));
  for (const container of candidates) {
    const more = container.children.length;
    if (container.parent.open && !container.isGroup && shown + more <= budget) {
      container.open = true;
      shown += more;
    }
  }
}

function compareLists(a, b) {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return 0;
}

/* Open every container around an item, so that it is drawn. */
function reveal(item) {
  for (let c = item.parent; c !== null; c = c.parent) c.open = true;
}
