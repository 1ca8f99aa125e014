/*
 * The graph as the page was given it: ops and edges.
 *
 * Policy: read once from the columns that page_data.py wrote.  Names are keys of Maps, never of objects, and reach the
 * page as text only.
 */

const SIDES = new Set(["variable", "constant", "reference"]); // drawn small, beside what uses them

/* Half a character, which no browser can show, as the sign for that. */
function wellFormed(text) {
  return text.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, "\uFFFD");
}

function readModel(data) {
  data.strings = data.strings.map(wellFormed);
  const model = {
    title: data.strings[data.title],
    caption: data.caption.map((i) => data.strings[i]),
    usual: data.strings[data.usual],
    nodes: readNodes(data),
    edges: [],
    boxes: new Map(),
    byName: new Map(),
    containers: [],
    scopes: new Map(), // name -> container, the merged ones included
    root: null,
    showsSetup: false,
  };
  model.edges = readEdges(data, model.nodes, findOriginals(model.nodes));
  findSetup(model.nodes);
  const boxes = data.boxes;
  boxes.scope.forEach((scope, i) => {
    model.boxes.set(data.strings[scope], { label: data.strings[boxes.label[i]], kind: data.strings[boxes.kind[i]] });
  });
  for (const node of model.nodes) {
    if (node.bytes === null) node.bytes = largestOutput(node);
    if (node.name !== "" && !node.ghost) model.byName.set(node.name, node);
  }
  return model;
}

/* The columns of a table as a function: reader("name")(i); a column that is left out has its default everywhere. */
function columnsOf(table, strings) {
  return {
    text: (name) => (i) => (table[name] === undefined ? "" : strings[table[name][i]]),
    number: (name, otherwise) => (i) => (table[name] === undefined ? otherwise : table[name][i]),
    texts: (name) => (i) => (table[name] === undefined ? [] : table[name][i].map((s) => strings[s])),
  };
}

function readNodes(data) {
  const columns = columnsOf(data.nodes, data.strings);
  const text = {};
  for (const name of ["name", "type", "kind", "scope", "source", "device", "value", "change"]) {
    text[name] = columns.text(name);
  }
  const lines = columns.texts("lines");
  const facts = columns.texts("facts");
  const number = {
    members: columns.number("members", 1),
    of: columns.number("of", -1),
    seconds: columns.number("seconds", null),
    bytes: columns.number("bytes", null),
    bad: columns.number("bad", 0),
  };
  const nodes = [];
  for (let i = 0; i < data.nodes.count; i++) {
    const node = { index: i, id: `n${i}`, isBox: false, lines: lines(i), facts: facts(i), inputs: [], outputs: [] };
    for (const name of Object.keys(text)) node[name] = text[name](i);
    for (const name of Object.keys(number)) node[name] = number[name](i);
    node.side = false;
    node.setup = false;
    node.parent = null;
    node.depth = 0;
    nodes.push(node);
  }
  return nodes;
}

/*
 * Of each node the one that it stands for: a stub stands for a node elsewhere, and stubs of one name and kind for the
 * first of them.  What stands for another one is a ghost: its edges are the other one's, and it is not drawn.
 */
function findOriginals(nodes) {
  const first = new Map();
  return nodes.map((node) => {
    let original = node;
    if (node.of >= 0) original = nodes[node.of];
    else if (SIDES.has(node.kind) && node.name !== "") {
      const key = `${node.kind} ${node.name}`;
      if (!first.has(key)) first.set(key, node);
      original = first.get(key);
    }
    node.ghost = original !== node;
    return original;
  });
}

function readEdges(data, nodes, originals) {
  const columns = columnsOf(data.edges, data.strings);
  const [label, kind, value] = ["label", "kind", "value"].map(columns.text);
  const bytes = columns.number("bytes", null);
  const edges = [];
  for (let i = 0; i < data.edges.count; i++) {
    const tail = originals[data.edges.tail[i]];
    const head = originals[data.edges.head[i]];
    const edge = { index: i, tail, head, label: label(i), kind: kind(i), value: value(i), bytes: bytes(i) };
    tail.outputs.push(edge);
    head.inputs.push(edge);
    edges.push(edge);
  }
  return edges;
}

function largestOutput(node) {
  let most = null;
  for (const edge of node.outputs) if (edge.bytes !== null && (most === null || edge.bytes > most)) most = edge.bytes;
  return most;
}

/* What sets variables up is hidden at first: it is half of the ops, and no part of the computation. */
function isHidden(model, node) {
  return node.ghost || (node.setup && !model.showsSetup);
}

/* Set-up ops, and the constants and reads of variables that nothing but these uses; users stand behind what they use. */
function findSetup(nodes) {
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i];
    const related = [...node.outputs.map((e) => e.head), ...node.inputs.filter((e) => e.kind === "write").map((e) => e.tail)];
    const serves = SIDES.has(node.kind) && (related.length > 0 || node.inputs.length > 0);
    node.setup = node.kind === "setup" || (serves && related.every((user) => user.setup));
  }
}
