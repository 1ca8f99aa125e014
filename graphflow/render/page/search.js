/*
 * Search in the names and types of ops and in the names of scopes.
 *
 * Policy: plain text, any case, words in any order; whole local names first, then beginnings, then the rest.
 */

const MOST_HITS = 200; // that are listed; all are counted

function searchable(model) {
  const scopes = model.containers.filter((c) => c !== model.root && !c.isGroup);
  const things = [...scopes, ...model.nodes.filter((n) => !n.ghost)];
  return things.map((item) => ({ item, text: `${item.name}\n${item.isBox ? "scope" : item.type}`.toLowerCase() }));
}

function findHits(index, query) {
  const words = query.toLowerCase().split(/\s+/).filter((w) => w !== "");
  if (words.length === 0) return [];
  const found = index.filter(({ text }) => words.every((w) => text.includes(w))).map(({ item }) => item);
  const rank = (item) => {
    const local = item.name.slice(item.name.lastIndexOf("/") + 1).toLowerCase();
    return local === words[0] ? 0 : local.startsWith(words[0]) ? 1 : 2;
  };
  return found.map((item, i) => ({ item, rank: rank(item), i })).sort((a, b) => a.rank - b.rank || a.i - b.i).map((h) => h.item);
}

function showHits(list, hits, actions) {
  const rows = hits.slice(0, MOST_HITS).map((item, i) => {
    const button = html("button", { type: "button", class: "hit", role: "option", id: `hit${i}` }, html("span", {}, item.name),
      html("span", { class: "detail" }, item.isBox ? `scope, ${item.members} ops` : item.type));
    button.addEventListener("click", () => actions.go(item));
    return button;
  });
  if (hits.length > MOST_HITS) rows.push(html("p", { class: "hint" }, `and ${hits.length - MOST_HITS} more`));
  list.replaceChildren(...rows);
}
