/*
 * Layers below each other, and in several columns where one would be too tall for a window.
 *
 * Policy: the number of columns is the one with which the whole can be shown largest; fewer read better, so a further
 * one has to be worth it.  Columns are as equal in height as whole layers allow.
 */

const COLUMN_GAP = 56;
const TALL = 700; // height from which there may be columns
const ASPECT = 1.4; // width to height of what fits a window
const MOST_COLUMNS = 10;

/* Rows below each other, and in columns where that would be too tall. */
function placeDown(grid) {
  const bounds = grid.rows.map((row) => ({
    left: Math.min(...row.map((c) => c.x - c.width / 2)),
    right: Math.max(...row.map((c) => c.x + c.width / 2)),
    height: Math.max(...row.map((c) => c.height)),
    gap: LAYER_GAP, // to the next one
  }));
  grid.rows.forEach((row, r) => { if (isBorder(grid, row) || isBorder(grid, grid.rows[r + 1])) bounds[r].gap = PORT_GAP; });
  const size = { width: 0, height: 0 };
  Object.assign(grid, { bounds, tops: [], columnOf: [], ends: [] });
  bestColumns(bounds).forEach(({ begin, end, left, right, height }, column) => {
    const x = size.width + (column > 0 ? COLUMN_GAP : 0);
    let y = 0;
    for (let r = begin; r < end; r++) {
      for (const cell of grid.rows[r]) {
        cell.x += x - left;
        cell.y = y + bounds[r].height / 2;
      }
      grid.tops[r] = y;
      grid.columnOf[r] = column;
      y += bounds[r].height + bounds[r].gap;
    }
    size.width = x + right - left;
    size.height = Math.max(size.height, height);
    grid.ends.push({ right: size.width, bottom: height });
  });
  return size;
}

function isBorder(grid, row) {
  return row !== undefined && row[0].item >= 0 && grid.graph.items[row[0].item].port !== undefined;
}

/* The number of columns with which the drawing fits best into a window. */
function bestColumns(bounds) {
  let best = [];
  let least = Infinity;
  const most = bounds.length < 4 ? 1 : Math.min(MOST_COLUMNS, bounds.length);
  for (let count = 1; count <= most; count++) {
    const columns = intoColumns(bounds, count);
    const height = columns.reduce((m, c) => Math.max(m, c.height), 0);
    const width = columns.reduce((sum, c) => sum + c.right - c.left + COLUMN_GAP, -COLUMN_GAP);
    const need = Math.max(height, width / ASPECT) * (1 + 0.06 * (columns.length - 1)); // one column reads best
    if (need < least) [best, least] = [columns, need];
    if (height < TALL) break;
  }
  return best;
}

/* The lowest columns of that number: the height is found by halving. */
function intoColumns(bounds, count) {
  let high = bounds.reduce((sum, b) => sum + b.height + b.gap, 0);
  let low = high / count / 2;
  for (let i = 0; i < 20 && count > 1; i++) {
    const middle = (low + high) / 2;
    if (columnsBelow(bounds, middle).length <= count) high = middle;
    else low = middle;
  }
  return columnsBelow(bounds, high);
}

function columnsBelow(bounds, most) {
  const columns = [];
  let column = null;
  bounds.forEach((bound, row) => {
    const gap = column === null ? 0 : bounds[row - 1].gap;
    if (column === null || column.height + gap + bound.height > most) {
      column = { begin: row, end: row, left: bound.left, right: bound.right, height: bound.height };
      columns.push(column);
    } else column.height += gap + bound.height;
    column.end = row + 1;
    column.left = Math.min(column.left, bound.left);
    column.right = Math.max(column.right, bound.right);
  });
  return columns;
}
