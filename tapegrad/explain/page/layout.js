// Places in layers, after Sugiyama, Tagawa and Toda (1981): ranks by longest path, order within a rank by barycentres,
// heights by least squares under the separations (isotonic regression), sweep by sweep.

const BOX = 40; // height of a node's box
const LINE = 20; // height of the value above it, of the adjoint below it
const CELL = BOX + 2 * LINE;

function layOut(view, widthOf, labelWidthOf) {
  const { items, links } = view;
  rank(items, links);
  const { layers, chains } = cellsOf(items, links);
  orderLayers(layers);
  separate(layers);
  const columns = placeColumns(layers, links, widthOf, labelWidthOf);
  for (const link of links) link.points = route(link, chains.get(link), columns);
  view.columns = columns;
  view.groups = groupsOf(view);
  const ends = [...items.map(edgesOfBox), ...view.groups.flatMap(({ boxes }) => boxes)];
  view.bounds = {
    left: least(ends.map((b) => b.left)),
    right: -least(ends.map((b) => -b.right)),
    top: least(ends.map((b) => b.top)),
    bottom: -least(ends.map((b) => -b.bottom)),
  };
}

const least = (numbers) => numbers.reduce((a, b) => (b < a ? b : a), Infinity);

const edgesOfBox = (item) => ({
  left: item.x - item.width / 2,
  right: item.x + item.width / 2,
  top: item.y - CELL / 2,
  bottom: item.y + CELL / 2,
});

// links against the order of computation (into a folded module that is called twice) do not count
const onward = (link) => link.source.order < link.target.order;

function rank(items, links) {
  for (const item of items) ((item.into = []), (item.out = []), (item.rank = 0));
  for (const link of links) {
    if (onward(link)) {
      link.target.into.push(link);
      link.source.out.push(link);
    }
  }
  const ops = items.filter((item) => item.order).sort((a, b) => a.order - b.order);
  for (const item of ops) item.rank = 1 + item.into.reduce((most, { source }) => Math.max(most, source.rank), 0);
  // what is not computed stands right before its first reader
  for (const item of items) {
    if (!item.order && item.out.length) item.rank = least(item.out.map(({ target }) => target.rank)) - 1;
  }
}

// the layers' cells: one an item, and one for every layer that a link passes
function cellsOf(items, links) {
  const layers = [];
  const put = (cell) => {
    (layers[cell.rank] ||= []).push(cell);
    return cell;
  };
  const cellOf = new Map();
  const chains = new Map();
  const last = items.filter((item) => item.order).sort((a, b) => b.order - a.order);
  const seen = new Set();
  // first order: depth first from the output, so that trees do not cross
  const visit = (root) => {
    const stack = [root];
    while (stack.length) {
      const item = stack.pop();
      if (seen.has(item)) continue;
      seen.add(item);
      cellOf.set(item, put({ item, rank: item.rank, before: [], after: [], weight: 1, y: 0 }));
      for (let i = item.into.length - 1; i >= 0; i--) stack.push(item.into[i].source);
    }
  };
  last.forEach(visit);
  items.forEach(visit);
  let room = 4 * items.length + 2000;
  const long = links.filter(onward).sort((a, b) => span(a) - span(b));
  for (const link of long) {
    let cell = cellOf.get(link.source);
    const chain = [];
    const end = cellOf.get(link.target);
    if ((room -= span(link) - 1) >= 0) {
      for (let at = cell.rank + 1; at < end.rank; at++) {
        const next = put({ item: null, rank: at, before: [cell], after: [], weight: 3, y: 0 });
        cell.after.push(next);
        chain.push((cell = next));
      }
    }
    cell.after.push(end);
    end.before.push(cell);
    chains.set(link, chain);
  }
  for (let i = 0; i < layers.length; i++) layers[i] ||= [];
  return { layers, chains };
}

const span = (link) => link.target.rank - link.source.rank;

function orderLayers(layers) {
  const number = (layer) =>
    layer.forEach((cell, i) => {
      cell.at = i;
    });
  layers.forEach(number);
  for (let sweep = 0; sweep < 8; sweep++) {
    const down = sweep % 2 === 0;
    for (let i = 0; i < layers.length; i++) {
      const at = down ? i : layers.length - 1 - i;
      for (const cell of layers[at]) {
        const others = down ? cell.before : cell.after;
        cell.want = others.length
          ? others.reduce((sum, other) => sum + other.at / (layers[other.rank].length || 1), 0) / others.length
          : cell.at / layers[at].length;
      }
      layers[at] = together(layers[at], 0);
      number(layers[at]);
    }
  }
}

// cells by what they want, those of a module side by side
function together(cells, depth) {
  const groups = new Map();
  for (const cell of cells) {
    const key = (cell.item && modulesOf(moduleOf(cell.item))[depth]) || cell;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(cell);
  }
  const sorted = [...groups].map(([key, members]) => ({
    members: typeof key === "string" && members.length > 1 ? together(members, depth + 1) : members,
    want: members.reduce((sum, cell) => sum + cell.want, 0) / members.length,
  }));
  return sorted.sort((a, b) => a.want - b.want).flatMap(({ members }) => members);
}

// the module whose box holds an item; a folded module stands in its parent's
const moduleOf = (item) =>
  item.module === undefined ? item.shown.module : item.module.split(".").slice(0, -1).join(".");

function separate(layers) {
  const gap = (a, b) => {
    const high = (a.item ? CELL : 12) / 2 + (b.item ? CELL : 12) / 2 + 10;
    const [p, q] = [a, b].map((cell) => (cell.item ? modulesOf(moduleOf(cell.item)) : []));
    const shared = p.filter((path, i) => path === q[i]).length;
    return high + 26 * Math.max(p.length - shared, q.length - shared);
  };
  for (const layer of layers) {
    layer.offsets = [0];
    for (let i = 1; i < layer.length; i++) layer.offsets.push(layer.offsets[i - 1] + gap(layer[i - 1], layer[i]));
    const middle = layer.offsets.at(-1) / 2;
    layer.forEach((cell, i) => {
      cell.y = layer.offsets[i] - middle;
    });
  }
  for (let sweep = 0; sweep < 9; sweep++) {
    for (let i = 0; i < layers.length; i++) {
      const layer = layers[sweep % 2 ? i : layers.length - 1 - i];
      for (const cell of layer) {
        const others = sweep === 8 ? [...cell.before, ...cell.after] : sweep % 2 ? cell.before : cell.after;
        cell.want = others.length ? others.reduce((sum, other) => sum + other.y, 0) / others.length : cell.y;
      }
      isotonic(layer);
    }
  }
}

// heights closest to what the cells want, in order and apart by at least their separations: pool adjacent violators
function isotonic(layer) {
  const blocks = [];
  layer.forEach((cell, i) => {
    let block = { sum: cell.weight * (cell.want - layer.offsets[i]), weight: cell.weight, many: 1 };
    while (blocks.length && blocks.at(-1).sum / blocks.at(-1).weight > block.sum / block.weight) {
      const before = blocks.pop();
      block = { sum: before.sum + block.sum, weight: before.weight + block.weight, many: before.many + block.many };
    }
    blocks.push(block);
  });
  let i = 0;
  for (const { sum, weight, many } of blocks) {
    for (const end = i + many; i < end; i++) layer[i].y = sum / weight + layer.offsets[i];
  }
}

function placeColumns(layers, links, widthOf, labelWidthOf) {
  const labels = new Array(layers.length).fill(0);
  for (const link of links) labels[link.target.rank] = Math.max(labels[link.target.rank], labelWidthOf(link));
  const columns = [];
  let x = 0;
  layers.forEach((layer, at) => {
    const width = layer.reduce((most, { item }) => Math.max(most, item ? (item.width = widthOf(item)) : 0), 0);
    const steep = Math.min(160, 3 * layer.length);
    if (at) x += Math.max(56, labels[at] + 36) + steep;
    columns.push({ left: x, right: x + width });
    for (const cell of layer) {
      cell.x = x + width / 2;
      if (cell.item) Object.assign(cell.item, { x: cell.x, y: cell.y });
    }
    x += width;
  });
  return columns;
}

// the points of a link: it leaves a box on the right and enters one on the left, flat through the columns between
function route(link, chain, columns) {
  const { source, target } = link;
  const points = [source.x + source.width / 2, source.y];
  for (const cell of chain || []) points.push(columns[cell.rank].left, cell.y, columns[cell.rank].right, cell.y);
  points.push(target.x - target.width / 2, target.y);
  return points;
}

// regions around unfolded modules, where nothing else stands inside: a box for each of their columns, side by side
function groupsOf(view) {
  const groups = new Map();
  for (const item of view.items) {
    for (const path of modulesOf(moduleOf(item))) {
      if (!groups.has(path)) groups.set(path, []);
      groups.get(path).push(item);
    }
  }
  const inside = new Map(); // how many levels of modules a module holds
  for (const path of groups.keys()) {
    const paths = modulesOf(path);
    paths.forEach((parent, i) => inside.set(parent, Math.max(inside.get(parent) || 0, paths.length - 1 - i)));
  }
  const byX = [...view.items].sort((a, b) => a.x - b.x);
  const regions = [...groups].map(([path, members]) => {
    const levels = Math.min(inside.get(path), 3);
    return { path, members, boxes: boxesOf(members, view.columns, 8 + 6 * levels, 16 + 18 * levels) };
  });
  return regions
    .filter(({ members, boxes }) => boxes.every((box) => alone(new Set(members), box, byX)))
    .sort((a, b) => modulesOf(a.path).length - modulesOf(b.path).length);
}

// boxes of the columns that members stand in; above the first is room for a label
function boxesOf(members, columns, room, head) {
  const ranks = new Map();
  for (const item of members) {
    if (!ranks.has(item.rank)) ranks.set(item.rank, []);
    ranks.get(item.rank).push(edgesOfBox(item));
  }
  const sorted = [...ranks].sort((a, b) => a[0] - b[0]);
  const middle = (rank) => (columns[rank - 1].right + columns[rank].left) / 2;
  return sorted.map(([rank, parts], i) => ({
    left: i ? middle(rank) : least(parts.map((b) => b.left)) - room,
    right: i < sorted.length - 1 ? middle(sorted[i + 1][0]) : -least(parts.map((b) => -b.right)) + room,
    top: least(parts.map((b) => b.top)) - (i ? room : head),
    bottom: -least(parts.map((b) => -b.bottom)) + room,
  }));
}

// whether no other item reaches into a box
function alone(own, box, byX) {
  let low = 0,
    high = byX.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (byX[middle].x < box.left) low = middle + 1;
    else high = middle;
  }
  for (; low < byX.length && byX[low].x <= box.right; low++) {
    const { y } = byX[low];
    if (y + BOX / 2 > box.top && y - BOX / 2 < box.bottom && !own.has(byX[low])) return false;
  }
  return true;
}
