/*
 * What is selected, and what belongs to it.
 *
 * Policy: the edges of the selected item are marked, those into it and those out of it in two colours; relations that
 * are stubs otherwise become lines as long as one of their ends is selected.
 */

const MOST_REFERENCES = 80; // that are drawn as lines at a time

function go(state, item, moves = true) {
  if (!item.isBox && isHidden(state.model, item)) setSetup(state, true);
  const chosen = item.isBox && !item.isGroup ? state.model.scopes.get(item.name) || state.model.root : item;
  state.selected = chosen;
  const shown = anchorOf(chosen);
  reveal(shown);
  update(state);
  if (moves) showItem(state.camera, shown.isBox || !shown.side ? shown : state.model.root);
}

/* What is drawn for an item: a side stands beside its first user. */
function anchorOf(item) {
  if (item.isBox || !item.side) return item;
  const users = [...item.outputs.map((e) => e.head), ...item.inputs.map((e) => e.tail)];
  return users.find((user) => user.parent !== null && !user.side) || item;
}

function showSelection(state) {
  const { layers, drawn, selected, scene, page } = state;
  layers.overlay.replaceChildren();
  page.view.classList.toggle("some", selected !== null);
  showPanel(page.panel, state.model, selected, state.actions);
  if (selected === null) return;
  const inside = new Set([selected]);
  markEdges(scene, selected);
  for (const node of state.model.nodes) if (isWithin(node, selected)) inside.add(node);
  const group = drawn.get(anchorOf(selected).id);
  if (group !== undefined) group.classList.add("selected");
  const related = scene.references.filter((edge) => inside.has(edge.tail) || inside.has(edge.head));
  for (const edge of related.slice(0, MOST_REFERENCES)) drawReference(state, edge);
}

function isWithin(node, box) {
  let container = node.parent;
  while (container !== null && container !== box) container = container.parent;
  return container !== null && box.isBox;
}

function markEdges(scene, selected) {
  const within = (node) => node === selected || isWithin(node, selected);
  for (const bundle of scene.bundles) {
    const into = bundle.edges.some((e) => within(e.head) && !within(e.tail));
    const out = bundle.edges.some((e) => within(e.tail) && !within(e.head));
    if (into) bundle.element.classList.add("into");
    if (out) bundle.element.classList.add("out");
  }
}

/* A relation that is drawn as a stub, as a line while one end of it is selected. */
function drawReference(state, edge) {
  const [from, to] = [drawnAs(edge.tail), drawnAs(edge.head)];
  const [x0, y0] = [from.x + from.boxWidth, from.y + from.boxHeight / 2];
  const [x, y] = [to.x, to.y + to.boxHeight / 2];
  const bend = Math.max(40, Math.abs(x - x0) / 3);
  state.layers.overlay.append(element("path", {
    d: `M${round(x0)} ${round(y0)}C${round(x0 + bend)} ${round(y0)} ${round(x - bend)} ${round(y)} ${round(x)} ${round(y)}`,
    class: "reference", "marker-end": "url(#arrow)",
  }));
}

function select(state, item) {
  state.selected = item;
  for (const marked of state.page.view.querySelectorAll(".selected, .into, .out")) marked.classList.remove("selected", "into", "out");
  showSelection(state);
  tell(state);
}
