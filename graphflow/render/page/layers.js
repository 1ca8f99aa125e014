/*
 * One level of the picture: where items of known sizes stand, and which way the edges between them go.
 *
 * Policy: layered from top to bottom: cycles are broken by order of creation, layers by longest paths, the order inside
 * a layer by barycentres, coordinates by least squares between neighbours that keep their distance.  A layer that is
 * too wide becomes several, a drawing that is too tall becomes several columns.  Deterministic, and no recursion.
 */

const LAYER_GAP = 40;
const PORT_GAP = 16; // between a border of a container and its first or last layer
const ITEM_GAP = 18;
const SWEEPS = 6;
const MOST_BENDS = 6000; // points that long edges pass; beyond, the longest go straight

/* `items` have width and height, `edges` are {tail, head, tailShift, headShift}: numbers of items, and where on them. */
function layLevel(items, edges) {
  const graph = { items, edges, count: items.length };
  graph.order = acyclicOrder(graph);
  const place = new Array(graph.count);
  graph.order.forEach((item, i) => { place[item] = i; });
  for (const edge of edges) edge.back = place[edge.tail] > place[edge.head];
  const linked = new Set();
  for (const edge of edges) linked.add(edge.tail).add(edge.head);
  const alone = items.map((_, i) => i).filter((i) => !linked.has(i));
  const layers = splitWide(graph, layersOf(graph, linked));
  const grid = makeGrid(graph, layers);
  orderLayers(grid);
  placeAcross(grid);
  const size = placeDown(grid);
  return finishLevel(graph, grid, alone, size);
}

function ends(edge) {
  return edge.back ? [edge.head, edge.tail] : [edge.tail, edge.head];
}

/* Kahn's order; where only cycles are left, the earliest item goes on. */
function acyclicOrder(graph) {
  const waiting = new Array(graph.count).fill(0);
  const after = graph.items.map(() => []);
  for (const edge of graph.edges) {
    waiting[edge.head]++;
    after[edge.tail].push(edge.head);
  }
  const done = new Array(graph.count).fill(false);
  const order = [];
  const ready = [];
  for (let i = graph.count - 1; i >= 0; i--) if (waiting[i] === 0) ready.push(i);
  let earliest = 0;
  while (order.length < graph.count) {
    let item = ready.pop();
    if (item === undefined) {
      while (done[earliest]) earliest++;
      item = earliest;
    }
    if (done[item]) continue;
    done[item] = true;
    order.push(item);
    for (const next of after[item]) if (--waiting[next] === 0 && !done[next]) ready.push(next);
  }
  return order;
}

/* Longest paths from the top; what has no input then moves down to its first user.  Ports keep to the borders. */
function layersOf(graph, linked) {
  const layer = new Array(graph.count).fill(0);
  const after = graph.items.map(() => []);
  const hasInput = new Array(graph.count).fill(false);
  for (const edge of graph.edges) {
    const [from, to] = ends(edge);
    after[from].push(to);
    hasInput[to] = true;
  }
  for (const item of graph.order) {
    if (graph.items[item].port !== "into" && layer[item] === 0) layer[item] = 1;
    for (const next of after[item]) layer[next] = Math.max(layer[next], layer[item] + 1);
  }
  for (const item of graph.order) {
    if (!hasInput[item] && after[item].length > 0 && graph.items[item].port === undefined) {
      layer[item] = Math.max(1, Math.min(...after[item].map((next) => layer[next])) - 1);
    }
  }
  const last = Math.max(1, ...[...linked].map((i) => layer[i])) + 1;
  const layers = [];
  for (const item of graph.order) {
    if (!linked.has(item)) continue;
    const at = graph.items[item].port === "from" ? last : layer[item];
    (layers[at] = layers[at] || []).push(item);
  }
  return layers.filter((l) => l !== undefined);
}

function splitWide(graph, layers) {
  let area = 0;
  for (const item of graph.items) area += (item.width + ITEM_GAP) * (item.height + LAYER_GAP);
  const widest = Math.max(1000, 2.2 * Math.sqrt(area));
  const out = [];
  for (const layer of layers) {
    let row = [];
    let width = 0;
    for (const item of [...layer].sort((a, b) => a - b)) {
      const more = graph.items[item].width + ITEM_GAP;
      if (row.length > 0 && width + more > widest && graph.items[item].port === undefined) {
        out.push(row);
        row = [];
        width = 0;
      }
      row.push(item);
      width += more;
    }
    out.push(row);
  }
  return out;
}

/* Cells: the items, and a bend wherever an edge passes a layer.  Links join cells of neighbouring layers. */
function makeGrid(graph, layers) {
  const cells = [];
  const cellOf = new Array(graph.count).fill(-1);
  const rows = layers.map((layer, row) => layer.map((item) => {
    const { width, height } = graph.items[item];
    cellOf[item] = cells.length;
    cells.push({ row, item, width, height, x: 0, y: 0, up: [], down: [], place: 0 });
    return cells[cells.length - 1];
  }));
  const grid = { graph, cells, cellOf, rows };
  const spans = graph.edges.map((edge) => {
    const [from, to] = ends(edge);
    return cells[cellOf[to]].row - cells[cellOf[from]].row;
  });
  const longest = longestBent(spans);
  graph.edges.forEach((edge, i) => linkEdge(grid, edge, spans[i] <= longest));
  return grid;
}

function longestBent(spans) {
  let left = MOST_BENDS;
  for (const span of [...spans].sort((a, b) => a - b)) {
    left -= span - 1;
    if (left < 0) return Math.max(1, span - 1);
  }
  return Infinity;
}

function linkEdge(grid, edge, bends) {
  const [from, to] = ends(edge);
  const [first, last] = [grid.cells[grid.cellOf[from]], grid.cells[grid.cellOf[to]]];
  const [out, into] = edge.back ? [edge.headShift, edge.tailShift] : [edge.tailShift, edge.headShift];
  edge.cells = [first];
  let above = first;
  let shift = out;
  for (let row = first.row + 1; bends && row < last.row; row++) {
    const bend = { row, item: -1, width: 4, height: 0, x: 0, y: 0, up: [], down: [], place: 0 };
    grid.rows[row].push(bend);
    join(above, bend, shift, 0);
    edge.cells.push(bend);
    above = bend;
    shift = 0;
  }
  edge.cells.push(last);
  if (bends || last.row === first.row + 1) join(above, last, shift, into);
}

function join(above, below, out, into) {
  const weight = above.item < 0 && below.item < 0 ? 6 : above.item < 0 || below.item < 0 ? 2 : 1;
  above.down.push({ cell: below, shift: into - out, weight });
  below.up.push({ cell: above, shift: out - into, weight });
}

function orderLayers(grid) {
  for (const row of grid.rows) row.forEach((cell, i) => { cell.place = i; });
  let best = null;
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const down = sweep % 2 === 0;
    const rows = down ? grid.rows : [...grid.rows].reverse();
    for (const row of rows) sortRow(row, down ? "up" : "down");
    const crossings = countCrossings(grid);
    if (best === null || crossings < best.crossings) best = { crossings, rows: grid.rows.map((row) => [...row]) };
    if (crossings === 0) break;
  }
  grid.rows = best === null ? grid.rows : best.rows;
  for (const row of grid.rows) row.forEach((cell, i) => { cell.place = i; });
}

function sortRow(row, towards) {
  for (const cell of row) {
    const links = cell[towards];
    let sum = 0;
    for (const link of links) sum += link.cell.place + link.shift / 1e5;
    cell.centre = links.length > 0 ? sum / links.length : cell.place;
  }
  row.sort((a, b) => a.centre - b.centre || a.place - b.place);
  row.forEach((cell, i) => { cell.place = i; });
}

/* Between each two rows: pairs of links in the wrong order, counted with a tree of sums. */
function countCrossings(grid) {
  let crossings = 0;
  for (const row of grid.rows) {
    const targets = [];
    for (const cell of row) targets.push(...cell.down.map((l) => l.cell.place).sort((a, b) => a - b));
    const size = targets.reduce((most, t) => Math.max(most, t + 1), 1);
    const sums = new Int32Array(size + 1);
    targets.forEach((target, seen) => {
      let before = 0;
      for (let i = target + 1; i > 0; i -= i & -i) before += sums[i];
      crossings += seen - before;
      for (let i = target + 1; i <= size; i += i & -i) sums[i]++;
    });
  }
  return crossings;
}

function placeAcross(grid) {
  for (const row of grid.rows) spread(row, row.map(() => 0));
  for (let sweep = 0; sweep < 2 * SWEEPS; sweep++) {
    const sides = sweep >= 2 * SWEEPS - 2 ? ["up", "down"] : [sweep % 2 === 0 ? "up" : "down"];
    const rows = sweep % 2 === 0 ? grid.rows : [...grid.rows].reverse();
    for (const row of rows) spread(row, row.map((cell) => wanted(cell, sides)));
  }
}

function wanted(cell, sides) {
  let sum = 0;
  let weight = 0;
  for (const side of sides) {
    for (const link of cell[side]) {
      sum += link.weight * (link.cell.x + link.shift);
      weight += link.weight;
    }
  }
  return weight > 0 ? sum / weight : cell.x;
}

/* The positions nearest to the wanted ones at which neighbours keep their distance: pooled adjacent violators. */
function spread(row, wants) {
  const pools = [];
  let offset = 0;
  const offsets = [];
  row.forEach((cell, i) => {
    if (i > 0) offset += (row[i - 1].width + cell.width) / 2 + ITEM_GAP;
    offsets.push(offset);
    const weight = cell.item < 0 ? 0.5 : 1;
    pools.push({ value: wants[i] - offset, weight, count: 1 });
    while (pools.length > 1 && pools[pools.length - 2].value >= pools[pools.length - 1].value) {
      const b = pools.pop();
      const a = pools[pools.length - 1];
      a.value = (a.value * a.weight + b.value * b.weight) / (a.weight + b.weight);
      a.weight += b.weight;
      a.count += b.count;
    }
  });
  let i = 0;
  for (const pool of pools) {
    for (let n = 0; n < pool.count; n++, i++) row[i].x = pool.value + offsets[i];
  }
}

/* All positions, and the points of the edges. */
function finishLevel(graph, grid, alone, size) {
  const at = new Array(graph.count);
  for (const cell of grid.cells) at[cell.item] = { x: cell.x, y: cell.y };
  const apart = placeAlone(graph, alone, at, size);
  for (const edge of graph.edges) edge.points = pointsOf(graph, grid, edge);
  return { at, width: Math.max(size.width, apart.width), height: Math.max(size.height, apart.height) };
}

/* In rows, about as high as the drawing that they stand beside. */
function placeAlone(graph, alone, at, size) {
  const left = size.width > 0 ? size.width + 2 * ITEM_GAP : 0;
  let area = 0;
  let widest = 0;
  for (const item of alone) {
    const { width, height } = graph.items[item];
    area += (width + ITEM_GAP) * (height + ITEM_GAP);
    widest = Math.max(widest, width);
  }
  widest = Math.max(widest, Math.min(1.4 * Math.sqrt(area), size.height > 0 ? (1.2 * area) / size.height : Infinity));
  const apart = { width: 0, height: 0 };
  let [x, y, tallest] = [0, 0, 0];
  for (const item of alone) {
    const { width, height } = graph.items[item];
    if (x > 0 && x + width > widest) [x, y, tallest] = [0, y + tallest + ITEM_GAP, 0];
    at[item] = { x: left + x + width / 2, y: y + height / 2 };
    x += width + ITEM_GAP;
    tallest = Math.max(tallest, height);
    apart.width = Math.max(apart.width, left + x - ITEM_GAP);
    apart.height = Math.max(apart.height, y + tallest);
  }
  return apart;
}

/* Down from the first item to the end of its layer, over to the next one, and so on; round the foot of a column. */
function pointsOf(graph, grid, edge) {
  const points = [];
  const shifts = edge.back ? [edge.headShift, edge.tailShift] : [edge.tailShift, edge.headShift];
  edge.cells.forEach((cell, i) => {
    const first = i === 0;
    const last = i === edge.cells.length - 1;
    const x = cell.x + (first ? shifts[0] : last ? shifts[1] : 0);
    const top = grid.tops[cell.row];
    const bottom = top + grid.bounds[cell.row].height;
    if (!first) {
      const before = edge.cells[i - 1];
      if (grid.columnOf[before.row] !== grid.columnOf[cell.row]) turnColumn(grid, before, cell, points);
      points.push([x, top]);
      if (last) points.push([x, cell.y - cell.height / 2]);
    }
    if (first) points.push([x, cell.y + cell.height / 2]);
    if (!last) points.push([x, bottom]);
  });
  return edge.back ? points.reverse() : points;
}

function turnColumn(grid, before, cell, points) {
  for (let column = grid.columnOf[before.row]; column < grid.columnOf[cell.row]; column++) {
    const end = grid.ends[column];
    const x = end.right + COLUMN_GAP / 2;
    points.push([x, end.bottom + 3], [x, -3]);
  }
}
