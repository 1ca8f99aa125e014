/*
 * Everything together: state, events, and the actions in the address behind `#`.
 *
 * Policy: one state; every action changes it and then calls `update`, which draws.  What is shown is told in data
 * attributes of the body, for tests and for whoever drives the page: #open=scope&select=op&search=text&color=time.
 */

const BUDGET = 60; // items at first
const MOST_OPEN = 6000; // items that "open all" draws
const PARTS = ["view", "world", "panel", "search", "hits", "count", "color", "legend", "setup", "setup-row", "title", "zoom"];
const LAYERS = ["boxes", "edges", "items", "labels", "overlay"]; // of the picture, from below

function start() {
  window.addEventListener("error", (event) => { document.body.dataset.error = event.message; });
  document.addEventListener("securitypolicyviolation", (event) => { document.body.dataset.error = event.violatedDirective; });
  const page = {};
  for (const id of PARTS) page[id] = document.getElementById(id);
  const model = readModel(JSON.parse(document.getElementById("data").textContent));
  buildTree(model);
  openToBudget(model, BUDGET);
  const layers = {};
  for (const name of LAYERS) layers[name] = document.getElementById(name);
  const state = {
    model, page, layers, scene: null, drawn: new Map(), selected: null, mode: firstMode(model), index: null, hits: [], hit: -1,
  };
  const showZoom = (camera) => { page.zoom.textContent = `${Math.round(camera.zoom * 100)} %`; };
  state.camera = makeCamera(page.view, page.world, page.legend, showZoom);
  state.actions = { go: (item, moves) => go(state, item, moves), toggle: (box) => toggleBox(state, box) };
  prepareControls(state);
  listen(state);
  update(state);
  fitAll(state);
  followAddress(state);
  new ResizeObserver(() => { if (!state.camera.moved) fitAll(state); }).observe(page.view);
  window.addEventListener("hashchange", () => followAddress(state));
}

function firstMode(model) {
  return model.nodes.some((n) => n.change !== "") ? "change" : "kind";
}

function prepareControls(state) {
  const { model, page } = state;
  page.title.textContent = model.title || "graph";
  for (const [name, mode] of MODES) {
    if (name === "change" && firstMode(model) !== "change") continue;
    page.color.append(html("option", { value: name }, mode.label));
  }
  page["setup-row"].hidden = !model.nodes.some((n) => n.kind === "setup");
}

/* Draw what the state says. */
function update(state) {
  state.scene = makeScene(state.model);
  arrange(state.model, state.scene);
  const colours = colouring(state.model, state.scene, state.mode);
  state.drawn = drawScene(
    { boxes: state.layers.boxes, edges: state.layers.edges, items: state.layers.items, labels: state.layers.labels },
    state.model, state.scene, colours);
  state.page.color.value = state.mode;
  showLegend(state, colours);
  showSelection(state);
  tell(state);
}

function tell(state) {
  const told = document.body.dataset;
  told.nodes = state.scene.items.length;
  told.boxes = state.scene.levels.length - 1;
  told.edges = state.scene.bundles.length;
  told.stubs = state.scene.items.reduce((sum, item) => sum + item.stubs.length, 0);
  told.overlaps = countOverlaps(state.scene);
  told.selected = state.selected === null ? "" : state.selected.name;
  told.color = state.mode;
  told.hits = state.hits.length;
  told.ops = state.model.root.members;
  told.ready = "1";
}

function showLegend(state, colours) {
  const rows = colours.rows.map(([name, label]) => {
    const swatch = element("svg", { width: 18, height: 12, class: `swatch ${name}`, "aria-hidden": "true" },
      element("rect", { x: 1, y: 1, width: 16, height: 10, rx: 3, class: "frame" }));
    return html("li", {}, swatch, label);
  });
  if (colours.note !== "") rows.push(html("li", { class: "hint" }, colours.note));
  state.page.legend.replaceChildren(...rows);
}

/* -- opening ------------------------------------------------------------------------------------------------------- */

/* The box that is opened or folded stays where it is on the screen. */
function toggleBox(state, box) {
  const { camera } = state;
  const [x, y] = [camera.x + box.x * camera.zoom, camera.y + box.y * camera.zoom];
  box.open = !box.open;
  update(state);
  moveTo(camera, x - box.x * camera.zoom, y - box.y * camera.zoom, camera.zoom);
  const again = state.drawn.get(box.id);
  if (again !== undefined) again.focus({ preventScroll: true });
}

function openAll(state) {
  const { model } = state;
  openToBudget(model, MOST_OPEN);
  update(state);
  fitAll(state);
}

function foldAll(state) {
  for (const container of state.model.containers) container.open = container === state.model.root;
  openToBudget(state.model, BUDGET);
  update(state);
  fitAll(state);
}

/* The whole picture; it stays fitted when the window changes, until somebody moves it. */
function fitAll(state) {
  fit(state.camera, 0, HEADER, state.scene.width, state.scene.height - HEADER);
  state.camera.moved = false;
}

function setSetup(state, shows) {
  state.model.showsSetup = shows;
  state.page.setup.checked = shows;
  buildTree(state.model);
  state.index = null;
  if (state.selected !== null && state.selected.isBox) state.selected = null;
}

/* -- events -------------------------------------------------------------------------------------------------------- */

function itemAt(state, target) {
  const group = target instanceof Element ? target.closest("[data-id]") : null;
  return group === null ? null : itemWithId(state, group.dataset.id);
}

function itemWithId(state, id) {
  return id[0] === "n" ? state.model.nodes[Number(id.slice(1))] : state.model.containers.find((c) => c.id === id) || null;
}

function listen(state) {
  const { page } = state;
  page.view.addEventListener("click", (event) => onClick(state, event));
  page.view.addEventListener("dblclick", (event) => onDoubleClick(state, event));
  page.search.addEventListener("input", () => search(state, page.search.value));
  page.search.addEventListener("keydown", (event) => onSearchKey(state, event));
  page.color.addEventListener("change", () => { state.mode = page.color.value; update(state); });
  page.setup.addEventListener("change", () => { setSetup(state, page.setup.checked); update(state); fitAll(state); });
  document.addEventListener("keydown", (event) => onKey(state, event));
  const buttons = {
    fit: () => fitAll(state), "zoom-in": () => zoomAtMiddle(state.camera, 1.3), "zoom-out": () => zoomAtMiddle(state.camera, 1 / 1.3),
    "open-all": () => openAll(state), "fold-all": () => foldAll(state),
  };
  for (const id of Object.keys(buttons)) document.getElementById(id).addEventListener("click", buttons[id]);
}

function onClick(state, event) {
  if (state.page.view.classList.contains("dragged")) return;
  const item = itemAt(state, event.target);
  if (item !== null && event.target.closest(".toggle") !== null) return toggleBox(state, item);
  const stub = event.target.closest("[data-stub]");
  select(state, item);
  if (stub !== null) showStub(state.page.panel, item.stubs[Number(stub.dataset.stub)], state.actions);
}

function onDoubleClick(state, event) {
  const item = itemAt(state, event.target);
  if (item !== null && item.isBox && event.target.closest(".toggle") === null) toggleBox(state, item);
}

function onKey(state, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) return;
  const focused = itemAt(state, document.activeElement);
  const chosen = focused || state.selected;
  const step = { ArrowUp: "inputs", ArrowDown: "outputs" }[event.key];
  if (event.key === "/") state.page.search.focus();
  else if (event.key === "f") fitAll(state);
  else if (event.key === "Escape") clear(state);
  else if (event.key === "Enter" && focused !== null) select(state, focused);
  else if (event.key === "+" || event.key === "-") openOrZoom(state, chosen, event.key === "+");
  else if (step !== undefined && state.selected !== null && !state.selected.isBox) stepTo(state, step);
  else return;
  event.preventDefault();
}

function openOrZoom(state, item, opens) {
  if (item !== null && item.isBox && item.open !== opens) toggleBox(state, item);
  else zoomAtMiddle(state.camera, opens ? 1.3 : 1 / 1.3);
}

function stepTo(state, side) {
  const edge = state.selected[side][0];
  if (edge !== undefined) go(state, side === "inputs" ? edge.tail : edge.head);
}

function clear(state) {
  state.page.search.value = "";
  search(state, "");
  select(state, null);
}

function search(state, query) {
  if (state.index === null) state.index = searchable(state.model);
  state.hits = findHits(state.index, query);
  state.hit = -1;
  showHits(state.page.hits, state.hits, state.actions);
  state.page.count.textContent = query.trim() === "" ? "" : `${state.hits.length.toLocaleString("en")} found`;
  state.page.hits.hidden = query.trim() === "";
  tell(state);
}

function onSearchKey(state, event) {
  if (event.key === "Escape") {
    clear(state);
    state.page.search.blur();
  } else if (state.hits.length > 0 && ["Enter", "ArrowDown", "ArrowUp"].includes(event.key)) {
    const count = Math.min(state.hits.length, MOST_HITS);
    state.hit = (state.hit + (event.key === "ArrowUp" ? count - 1 : 1)) % count;
    for (const [i, row] of [...state.page.hits.querySelectorAll(".hit")].entries()) row.classList.toggle("current", i === state.hit);
    go(state, state.hits[state.hit]);
    event.preventDefault();
  }
}

/* -- the address --------------------------------------------------------------------------------------------------- */

function followAddress(state) {
  const wanted = new URLSearchParams(window.location.hash.slice(1));
  if ([...wanted.keys()].length === 0) return;
  if (wanted.has("setup")) setSetup(state, wanted.get("setup") === "1");
  for (const name of wanted.getAll("open")) openNamed(state, name, true);
  for (const name of wanted.getAll("fold")) openNamed(state, name, false);
  if (MODES.has(wanted.get("color"))) state.mode = wanted.get("color");
  if (wanted.get("all") === "1") openToBudget(state.model, MOST_OPEN);
  update(state);
  fitAll(state);
  if (wanted.has("search")) {
    state.page.search.value = wanted.get("search");
    search(state, wanted.get("search"));
  }
  const item = wanted.has("select") ? state.model.byName.get(wanted.get("select")) || scopeFound(state, wanted.get("select")) : null;
  if (item) go(state, item);
}

function scopeFound(state, name) {
  const found = state.model.scopes.get(name);
  return found === undefined || found === state.model.root ? null : found;
}

function openNamed(state, name, opens) {
  const box = scopeFound(state, name);
  if (box === null) return;
  reveal(box);
  box.open = opens;
}

start();
