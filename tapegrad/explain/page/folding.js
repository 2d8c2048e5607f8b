// The graph that is seen: nodes outside folded modules, and one node for each folded one.

const kindOf = new Map(explanation.modules.filter((m) => m.path).map((m) => [m.path, m.kind]));
const prefixes = (path) => (path ? path.split(".").map((_, i, names) => names.slice(0, i + 1).join(".")) : []);
for (const node of nodes) {
  // a parameter stands in the module that its name says
  if (!node.module && node.kind === "parameter")
    node.module =
      prefixes(node.name)
        .slice(0, -1)
        .findLast((path) => kindOf.has(path)) || "";
  if (node.module && !kindOf.has(node.module)) kindOf.set(node.module, "");
}

// the modules that hold a node, outermost first
const holders = new Map();
function modulesOf(module) {
  if (!holders.has(module)) {
    holders.set(
      module,
      prefixes(module).filter((path) => kindOf.has(path)),
    );
  }
  return holders.get(module);
}
const modulePaths = [];
{
  const seen = new Set();
  for (const node of nodes) {
    for (const path of modulesOf(node.module)) {
      if (!seen.has(path)) {
        seen.add(path);
        modulePaths.push(path);
      }
    }
  }
  modulePaths.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

function foldedView(folded) {
  const seen = new Map(); // key -> what is seen
  const viewOf = new Map(); // id of a node -> what shows it
  for (const node of nodes) {
    const module = modulesOf(node.module).find((path) => folded.has(path));
    const key = module === undefined ? `n${node.id}` : `m${module}`;
    if (!seen.has(key)) seen.set(key, { key, module, members: [], shown: node, edges: [] });
    const item = seen.get(key);
    item.members.push(node);
    viewOf.set(node.id, item);
  }
  for (const item of seen.values()) {
    if (item.module === undefined) continue;
    // a folded module shows the last op of it that is read outside
    const ops = item.members.filter((node) => node.kind === "op");
    const read = ops.filter((node) => node === output || node.from.some((edge) => viewOf.get(edge.target) !== item));
    item.shown = read.at(-1) || ops.at(-1) || item.members.at(-1);
  }
  const links = new Map();
  for (const edge of explanation.edges) {
    const source = viewOf.get(edge.source),
      target = viewOf.get(edge.target);
    if (source === target) continue;
    const plain = source.module === undefined && target.module === undefined;
    const key = `${source.key} ${target.key}`;
    if (plain || !links.has(key)) {
      const link = { source, target, edges: [edge], bend: 0 };
      const twins = links.get(key) || [];
      twins.push(link);
      links.set(key, twins);
    } else links.get(key)[0].edges.push(edge);
  }
  const all = [];
  for (const twins of links.values()) {
    twins.forEach((link, i) => {
      link.bend = i - (twins.length - 1) / 2;
      all.push(link);
    });
  }
  const items = [...seen.values()];
  for (const item of items) {
    item.order = item.members.reduce(
      (first, { computed }) => (computed && (!first || computed < first) ? computed : first),
      0,
    );
  }
  return { items, links: all, viewOf };
}

const itemName = (item) => (item.module === undefined ? item.shown.name : item.module);

function itemDetail(item) {
  if (item.module !== undefined) {
    const many = item.members.filter((node) => node.kind === "op").length;
    return `${kindOf.get(item.module) || "module"}, ${many} op${many === 1 ? "" : "s"}`;
  }
  const node = item.shown;
  if (node.kind !== "op") return node.kind;
  const right = node.formula ? node.formula.split(" = ").slice(1).join(" = ") : "";
  return (node.module ? right.replaceAll(`${node.module}.`, "") : right) || node.op || "";
}
