/*
 * Pan and zoom.
 *
 * Policy: one transform on one group; the wheel zooms at the pointer, a drag moves, and nothing else moves the picture
 * but a request to show something.
 */

const LEAST_ZOOM = 0.02;
const MOST_ZOOM = 4;

function makeCamera(svg, world, legend, changed) {
  const camera = { svg, world, legend, x: 0, y: 0, zoom: 1, moved: false, changed };
  svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const area = svg.getBoundingClientRect();
    const lines = event.deltaMode === 1 ? 16 : 1;
    zoomAt(camera, Math.exp(-event.deltaY * lines * 0.0016), event.clientX - area.left, event.clientY - area.top);
  }, { passive: false });
  followDrags(camera);
  return camera;
}

function followDrags(camera) {
  let from = null;
  camera.svg.addEventListener("pointerdown", (event) => {
    if (event.button === 0) from = { x: event.clientX, y: event.clientY, moved: false };
  });
  window.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
    if (!from.moved && Math.hypot(dx, dy) < 4) return;
    from = { x: event.clientX, y: event.clientY, moved: true };
    camera.svg.classList.add("dragged");
    moveTo(camera, camera.x + dx, camera.y + dy, camera.zoom);
  });
  window.addEventListener("pointerup", () => {
    from = null;
    window.setTimeout(() => camera.svg.classList.remove("dragged"), 0); // after the click that ends the drag
  });
}

function moveTo(camera, x, y, zoom) {
  camera.moved = true;
  camera.x = x;
  camera.y = y;
  camera.zoom = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, zoom));
  camera.world.setAttribute("transform", `translate(${round(camera.x)} ${round(camera.y)}) scale(${camera.zoom.toPrecision(5)})`);
  camera.svg.classList.toggle("far", camera.zoom < 0.45);
  camera.changed(camera);
}

function zoomAt(camera, factor, x, y) {
  const zoom = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, camera.zoom * factor));
  const real = zoom / camera.zoom;
  moveTo(camera, x - (x - camera.x) * real, y - (y - camera.y) * real, zoom);
}

function zoomAtMiddle(camera, factor) {
  const area = camera.svg.getBoundingClientRect();
  zoomAt(camera, factor, area.width / 2, area.height / 2);
}

/* A rectangle of the picture, whole and in the middle, but not much larger than life. */
function fit(camera, x, y, width, height) {
  const area = clearArea(camera);
  const zoom = Math.min(1.25, (area.width - 32) / Math.max(1, width), (area.height - 32) / Math.max(1, height));
  const kept = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, zoom));
  moveTo(camera, area.width / 2 - (x + width / 2) * kept, area.height / 2 - (y + height / 2) * kept, kept);
}

/* What the legend leaves free. */
function clearArea(camera) {
  const { width, height } = camera.svg.getBoundingClientRect();
  return { width, height: Math.max(height / 2, height - camera.legend.offsetHeight - 16) };
}

/* Bring an item into sight, at a size at which it can be read. */
function showItem(camera, item) {
  const area = clearArea(camera);
  const zoom = Math.max(0.8, Math.min(camera.zoom, 1.5));
  if (item.boxWidth * zoom > area.width || item.boxHeight * zoom > area.height) {
    fit(camera, item.x, item.y, item.boxWidth, item.boxHeight);
    return;
  }
  moveTo(camera, area.width / 2 - (item.x + item.boxWidth / 2) * zoom, area.height / 2 - (item.y + item.boxHeight / 2) * zoom, zoom);
}
