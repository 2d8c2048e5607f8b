// The listing, of which only the lines in sight exist, and the user's source.

const ROW = 24;
const tableBox = document.getElementById("table"),
  linesBox = document.getElementById("lines");
let rows = [];
let rowOf = new Map();
const pool = [];

function useRows() {
  rows = [];
  rowOf = new Map();
  const seen = new Set();
  for (const node of nodes) {
    const item = view.viewOf.get(node.id);
    if (!seen.has(item)) {
      seen.add(item);
      rows.push(item);
      rowOf.set(item, rows.length - 1);
    }
  }
  linesBox.style.height = `${rows.length * ROW}px`;
  tableBox.setAttribute("aria-rowcount", String(rows.length + 1));
}

function makeRow() {
  const row = document.createElement("div");
  row.setAttribute("role", "row");
  row.cells = ["", "", "value", "", "derivative", "adjoint"].map((kind) => {
    const cell = document.createElement("span");
    cell.setAttribute("role", "gridcell");
    if (kind) cell.className = kind;
    row.append(cell);
    return cell;
  });
  row.addEventListener("pointerenter", () => pointAt(rows[row.at].shown, rows[row.at], true));
  row.addEventListener("pointerleave", () => pointAt(null));
  row.addEventListener("click", () => pick(rows[row.at].shown));
  linesBox.append(row);
  return row;
}

function derivativesText(node) {
  node.derivatives ??= node.into
    .map((edge) => [edge, derivativeText(edge)])
    .filter(([, words]) => words)
    .map(([edge, words]) => (edge.jacobian ? `${readName(edge)}: ${words}` : `${localPartial(edge)} = ${words}`))
    .join(", ");
  return node.derivatives;
}

function drawListing() {
  const top = tableBox.scrollTop;
  const first = Math.max(0, Math.floor(top / ROW) - 2);
  const many = Math.min(rows.length - first, Math.ceil(tableBox.clientHeight / ROW) + 4);
  while (pool.length < many) pool.push(makeRow());
  const now = steps[state.step].node;
  const current = now && view.viewOf.get(now.id);
  const lit = state.focus && view.viewOf.get(state.focus.id);
  const inputs = new Set(lit ? lit.links.map((link) => link.source) : []);
  const picked = new Set(
    [...state.picks, ...(state.path ? state.path.nodes : [])].map((node) => view.viewOf.get(node.id)),
  );
  for (let i = 0; i < pool.length; i++) {
    const at = first + ((i - (first % pool.length) + pool.length) % pool.length);
    const row = pool[i];
    row.hidden = at >= rows.length || at >= first + many;
    if (row.hidden) continue;
    const item = rows[at],
      node = item.shown;
    const known = hasValue(node, state.step);
    const adjoint = adjointAt(node, state.step);
    if (row.at !== at) {
      row.at = at;
      row.id = `row-${at}`;
      row.style.transform = `translateY(${at * ROW}px)`;
      row.setAttribute("aria-rowindex", String(at + 2));
    }
    const classes = [
      "line",
      item === current && "current",
      item === lit && "lit",
      inputs.has(item) && "input",
      picked.has(item) && "picked",
      !known && "later",
      spoiltAt(node, state.step) && "bad",
    ]
      .filter(Boolean)
      .join(" ");
    if (row.className !== classes) row.className = classes;
    row.setAttribute("aria-selected", String(item === lit));
    const words = [
      item.module === undefined ? String(node.id) : "+",
      itemName(item),
      known ? quantityText(node.value) : "",
      item.module === undefined ? (node.kind === "op" ? node.formula : node.kind) : itemDetail(item),
      known && item.module === undefined ? derivativesText(node) : "",
      adjoint ? adjoint.text : "",
    ];
    words.forEach((word, k) => {
      const cell = row.cells[k];
      if (cell.textContent !== word) {
        cell.textContent = word;
        cell.title = word;
      }
    });
  }
  const active = lit ? `row-${rowOf.get(lit)}` : "";
  if (active) tableBox.setAttribute("aria-activedescendant", active);
  else tableBox.removeAttribute("aria-activedescendant");
}

function showRow(item) {
  const top = rowOf.get(item) * ROW,
    room = tableBox.clientHeight - ROW;
  if (top < tableBox.scrollTop) tableBox.scrollTop = top;
  else if (top + ROW > tableBox.scrollTop + room) tableBox.scrollTop = top + ROW - room;
}

tableBox.addEventListener("scroll", changed, { passive: true });

// --- the user's source: the lines that the nodes come from

const sourceBox = document.getElementById("source");
const sourceLines = new Map();
const sourceKey = (where) => `${where.file}:${where.line}`;
{
  const found = nodes.filter((node) => node.where);
  const sorted = [...new Map(found.map(({ where }) => [sourceKey(where), where])).values()].sort((a, b) =>
    a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line,
  );
  const last = new Map(found.map((node) => [sourceKey(node.where), node]));
  let file = null;
  for (const where of sorted) {
    if (where.file !== file) {
      file = where.file;
      sourceBox.append(element("h3", {}, file));
    }
    const line = element(
      "div",
      { class: "code" },
      element("span", { class: "number" }, String(where.line)),
      element("code", {}, where.code),
    );
    line.addEventListener("pointerenter", () => pointAt(last.get(sourceKey(where))));
    line.addEventListener("pointerleave", () => pointAt(null));
    sourceLines.set(sourceKey(where), line);
    sourceBox.append(line);
  }
  sourceBox.hidden = !sorted.length;
}

let litLines = [];
function drawSource() {
  const now = steps[state.step].node;
  const wanted = [
    [now, "current"],
    [state.focus, "lit"],
  ]
    .filter(([node]) => node && node.where)
    .map(([node, kind]) => [sourceLines.get(sourceKey(node.where)), kind]);
  for (const [line, kind] of litLines) line.classList.remove(kind);
  for (const [line, kind] of wanted) line.classList.add(kind);
  const [line] = wanted.at(-1) || [];
  if (line && line !== (litLines.at(-1) || [])[0]) {
    const top = line.offsetTop - sourceBox.offsetTop;
    if (top < sourceBox.scrollTop || top + ROW > sourceBox.scrollTop + sourceBox.clientHeight)
      sourceBox.scrollTop = top - 2 * ROW;
  }
  litLines = wanted;
}
