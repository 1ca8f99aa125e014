/*
 * The panel: what is known of the selected op or scope.
 *
 * Policy: text nodes only; whatever names another item is a button that selects it.
 */

const MOST_ROWS = 60; // of inputs, of outputs, of ops in a stub

function html(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const key of Object.keys(attributes)) made.setAttribute(key, attributes[key]);
  made.append(...children);
  return made;
}

function showPanel(panel, model, selected, actions) {
  const parts = selected === null ? overview(model) : selected.isBox ? boxParts(selected, actions) : opParts(selected, actions);
  panel.replaceChildren(...parts);
}

function overview(model) {
  const caption = model.caption.length > 0 ? model.caption : [`${model.root.members.toLocaleString("en")} ops`];
  const rows = caption.map((line) => html("p", {}, line));
  const hint = html("p", { class: "hint" }, "Click an op for its details. Double-click a scope, or press +, to open it.");
  return [html("h2", {}, model.title || "graph"), ...rows, hint, keyTable()];
}

function keyTable() {
  const keys = [
    ["/", "search"], ["f", "fit the picture"], ["+ −", "open or fold the selected scope, or zoom"],
    ["↑ ↓", "to an input, to an output"], ["Enter", "select what has the focus"], ["Esc", "clear"],
  ];
  return html("dl", { class: "keys" }, ...keys.flatMap(([key, what]) => [html("dt", {}, key), html("dd", {}, what)]));
}

function factList(rows) {
  const shown = rows.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return html("dl", {}, ...shown.flatMap(([key, value]) => [html("dt", {}, key), html("dd", {}, value)]));
}

function heading(item, text, kind, actions) {
  const parts = [html("p", { class: "badge" }, kind), html("h2", {}, text)];
  if (item.parent !== null && item.parent.name !== "" && !item.isGroup) {
    parts.push(html("p", {}, "in ", link(item.parent.name, item.parent, actions)));
  }
  return parts;
}

function link(text, item, actions) {
  const button = html("button", { type: "button", class: "link" }, text);
  button.addEventListener("click", () => actions.go(item));
  return button;
}

function opParts(node, actions) {
  const rows = [
    ["type", node.type], ["built at", node.source], ["device", node.device], ["change", node.change],
    ["time", node.seconds === null ? "" : secondsText(node.seconds)],
    ["bytes", node.bytes === null ? "" : bytesText(node.bytes)], ["value", node.value],
  ];
  for (let i = 0; i + 1 < node.facts.length; i += 2) rows.push([node.facts[i], node.facts[i + 1]]);
  const parts = heading(node, node.name || node.lines.join(" "), kindName(node), actions);
  if (node.bad) parts.push(html("p", { class: "alarm" }, "It holds a NaN or an infinity, or it is what failed."));
  if (node.members > 1) rows.unshift(["stands for", `${node.members} ops`]);
  parts.push(factList(rows));
  parts.push(...relations("inputs", node.inputs.map((e) => [e.tail, e]), actions));
  parts.push(...relations("outputs", node.outputs.map((e) => [e.head, e]), actions));
  return parts;
}

function kindName(node) {
  const found = KIND_NAMES.find(([kind]) => kind === node.kind);
  return found === undefined ? node.kind : found[1];
}

function relations(title, pairs, actions) {
  if (pairs.length === 0) return [];
  const rows = pairs.slice(0, MOST_ROWS).map(([other, edge]) => {
    const detail = edge === null ? "" : [edge.kind === "data" ? "" : edge.kind, edge.label, edge.value].filter((t) => t).join(" ");
    return html("li", {}, link(other.name || other.lines.join(" "), other, actions), html("span", { class: "detail" }, detail));
  });
  if (pairs.length > MOST_ROWS) rows.push(html("li", {}, `and ${pairs.length - MOST_ROWS} more`));
  return [html("h3", {}, `${title} (${pairs.length})`), html("ul", {}, ...rows)];
}

function boxParts(box, actions) {
  const folds = html("button", { type: "button" }, box.open ? "Fold" : "Open");
  folds.addEventListener("click", () => actions.toggle(box));
  const [text, count] = labelOf(box);
  const rows = [
    ["holds", count], ["time", box.seconds === null ? "" : secondsText(box.seconds)],
    ["bytes", box.bytes === null ? "" : bytesText(box.bytes)], ["device", box.device],
  ];
  const parts = heading(box, box.isGroup ? text : box.name, box.isGroup ? "group" : "scope", actions);
  if (box.bad) parts.push(html("p", { class: "alarm" }, "Something in it holds a NaN or an infinity, or failed."));
  parts.push(factList(rows), folds);
  const { into, out } = borderEdges(box);
  parts.push(...relations("inputs", into, actions), ...relations("outputs", out, actions));
  return parts;
}

/* Edges over the border of a container, one for each op outside. */
function borderEdges(box) {
  const inside = new Set([box]);
  const work = [box];
  const into = new Map();
  const out = new Map();
  const ops = [];
  while (work.length > 0) {
    for (const child of work.pop().children) {
      if (child.isBox) {
        inside.add(child);
        work.push(child);
      } else ops.push(child);
    }
  }
  for (const op of ops) {
    for (const edge of op.inputs) if (edge.tail.parent !== null && !inside.has(edge.tail.parent)) into.set(edge.tail, edge);
    for (const edge of op.outputs) if (edge.head.parent !== null && !inside.has(edge.head.parent)) out.set(edge.head, edge);
  }
  return { into: [...into], out: [...out] };
}

function showStub(panel, stub, actions) {
  if (stub.nodes.length === 1) return actions.go(stub.nodes[0], false);
  const pairs = stub.nodes.map((node) => [node, null]);
  return panel.replaceChildren(html("h2", {}, stub.label), ...relations("ops", pairs, actions));
}
