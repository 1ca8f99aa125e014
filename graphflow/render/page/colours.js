/*
 * Which colour class an item gets, and what the legend says about it.
 *
 * Policy: colours are classes of the style sheet, for light and dark; here is only decided which one.  Heat is the
 * square root of the share of the largest value that is drawn now.
 */

const MODES = new Map([
  ["kind", { label: "kind", classOf: (item) => `k-${item.kind || "forward"}` }],
  ["time", { label: "time", amount: (item) => item.seconds, text: secondsText, nothing: "no times: they come with a traced run" }],
  ["bytes", { label: "bytes", amount: (item) => item.bytes, text: bytesText, nothing: "no sizes are known" }],
  ["device", { label: "device" }],
  ["change", { label: "rewrites", classOf: (item) => `r-${item.change || "kept"}` }],
]);
const HEATS = 8;
const DEVICES = 8;
const KIND_NAMES = [
  ["forward", "forward"], ["gradient", "gradient"], ["update", "update"], ["setup", "set-up"], ["fed", "fed"],
  ["variable", "variable"], ["constant", "constant"], ["reference", "forward value"],
];

/* A function from an item to its class, and the rows of the legend. */
function colouring(model, scene, name) {
  const mode = MODES.get(name);
  if (mode.amount !== undefined) return heatColouring(scene, mode);
  if (name === "device") return deviceColouring(model);
  const present = new Set(name === "kind" ? model.nodes.map((n) => n.kind) : model.nodes.map((n) => n.change || "kept"));
  const all = name === "kind" ? KIND_NAMES : [...present].sort().map((p) => [p, p]);
  const prefix = name === "kind" ? "k" : "r";
  if (name === "kind" && scene.references.length > 0) present.add("reference");
  const rows = all.filter(([key]) => present.has(key)).map(([key, label]) => [`${prefix}-${key}`, label]);
  return { classOf: mode.classOf, rows, note: "" };
}

function heatColouring(scene, mode) {
  const amounts = scene.items.map(mode.amount).filter((a) => a !== null);
  const most = amounts.reduce((m, a) => Math.max(m, a), 0);
  if (amounts.length === 0) return { classOf: () => "h-none", rows: [], note: mode.nothing };
  const step = (a) => Math.min(HEATS - 1, Math.floor(Math.sqrt(most > 0 ? a / most : 0) * HEATS));
  const rows = [];
  for (let i = 0; i < HEATS; i++) rows.push([`h-${i}`, i === 0 ? mode.text(0) : i === HEATS - 1 ? mode.text(most) : ""]);
  const classOf = (item) => (mode.amount(item) === null ? "h-none" : `h-${step(mode.amount(item))}`);
  return { classOf, rows, note: "" };
}

function deviceColouring(model) {
  const names = [...new Set(model.nodes.map((n) => n.device))].sort();
  const number = new Map(names.map((name, i) => [name, i % DEVICES]));
  const rows = names.map((name) => [`d-${number.get(name)}`, name === "" ? "any device" : name]);
  return { classOf: (item) => `d-${number.get(item.device) || 0}`, rows, note: "" };
}

function secondsText(seconds) {
  if (seconds === 0) return "0";
  if (seconds < 1e-3) return `${+(seconds * 1e6).toPrecision(3)} µs`;
  return seconds < 1 ? `${+(seconds * 1e3).toPrecision(3)} ms` : `${+seconds.toPrecision(3)} s`;
}

function bytesText(bytes) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${unit === 0 ? bytes : +bytes.toPrecision(3)} ${units[unit]}`;
}
