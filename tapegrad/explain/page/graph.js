// The graph: where it is looked at from, what is lit, and the pointer on it.

const graphBox = document.getElementById("graph");
// the point of the graph in the middle, pixels a unit, whether the user moved it
const camera = { x: 0, y: 0, scale: 1, moved: false };
let size = { width: 0, height: 0, ratio: 1 };
let view = null;
let edgesStale = true,
  nodesStale = false;

function useView(folded) {
  view = foldedView(folded);
  layOut(view, boxWidth, labelWidth);
  for (const item of view.items) item.links = [];
  for (const link of view.links) {
    link.target.links.push(link);
  }
  view.byX = [...view.items].sort((a, b) => a.x - b.x);
  view.widest = view.items.reduce((most, item) => Math.max(most, item.width), 0);
  view.spans = view.links.map((link) => {
    const xs = link.points.filter((_, i) => i % 2 === 0),
      ys = link.points.filter((_, i) => i % 2);
    return [least(xs), -least(xs.map((x) => -x)), least(ys) - 30, -least(ys.map((y) => -y)) + 30];
  });
  edgesStale = true;
}

function resize() {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const { clientWidth: width, clientHeight: height } = graphBox;
  if (width === size.width && height === size.height && ratio === size.ratio) return;
  size = { width, height, ratio };
  for (const canvas of [edgesCanvas, nodesCanvas]) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  edgesStale = true;
}

function fit() {
  const { left, right, top, bottom } = view.bounds;
  camera.scale = Math.min(1.6, (size.width - 48) / (right - left), (size.height - 48) / (bottom - top));
  camera.x = (left + right) / 2;
  camera.y = (top + bottom) / 2;
  camera.moved = false;
  edgesStale = true;
}

// at first: the whole graph, or its beginning where too little of the whole could be seen
function open() {
  fit();
  if (camera.scale >= 0.62 || (camera.scale >= 0.05 && view.items.length > 150)) return;
  camera.scale = 0.8;
  const first = view.byX[0];
  camera.x = view.bounds.left + (size.width / 2 - 24) / camera.scale;
  const high = (view.bounds.bottom - view.bounds.top) * camera.scale > size.height;
  if (high) camera.y = first.y;
}

function zoom(factor, x = size.width / 2, y = size.height / 2) {
  const scale = Math.max(0.004, Math.min(4, camera.scale * factor));
  const dx = (x - size.width / 2) * (1 / camera.scale - 1 / scale),
    dy = (y - size.height / 2) * (1 / camera.scale - 1 / scale);
  Object.assign(camera, { scale, moved: true, x: camera.x + dx, y: camera.y + dy });
  edgesStale = true;
}

const seenPlace = (x, y) => [
  (x - camera.x) * camera.scale + size.width / 2,
  (y - camera.y) * camera.scale + size.height / 2,
];
const graphPlace = (x, y) => [
  (x - size.width / 2) / camera.scale + camera.x,
  (y - size.height / 2) / camera.scale + camera.y,
];

// moves the camera where an item is out of sight
function follow(item) {
  const [x, y] = seenPlace(item.x, item.y);
  const half = Math.min((item.width / 2) * camera.scale, size.width / 3);
  const edge = Math.min(44 * camera.scale + 4, size.height / 3);
  if (x - half >= 0 && x + half <= size.width && y - edge >= 0 && y + edge <= size.height) return;
  camera.x = item.x;
  camera.y = item.y;
  edgesStale = true;
}

function toGraph(pen) {
  const { ratio, width, height } = size;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, width * ratio, height * ratio);
  const scale = camera.scale * ratio;
  pen.setTransform(
    scale,
    0,
    0,
    scale,
    (width / 2 - camera.x * camera.scale) * ratio,
    (height / 2 - camera.y * camera.scale) * ratio,
  );
}

function seenPart() {
  const [left, top] = graphPlace(0, 0),
    [right, bottom] = graphPlace(size.width, size.height);
  return { left, right, top, bottom };
}

function itemsIn({ left, right, top, bottom }) {
  const { byX, widest } = view;
  let low = 0,
    high = byX.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (byX[middle].x < left - widest / 2) low = middle + 1;
    else high = middle;
  }
  const found = [];
  for (; low < byX.length && byX[low].x <= right + widest / 2; low++) {
    const item = byX[low];
    if (item.y + CELL / 2 >= top && item.y - CELL / 2 <= bottom) found.push(item);
  }
  return found;
}

function linksIn({ left, right, top, bottom }) {
  return view.links.filter((_, i) => {
    const [x0, x1, y0, y1] = view.spans[i];
    return x1 >= left && x0 <= right && y1 >= top && y0 <= bottom;
  });
}

function drawEdges() {
  edgesStale = false;
  toGraph(edgesPen);
  const detail = camera.scale >= DETAIL;
  const seen = seenPart();
  if (detail) for (const group of view.groups) drawGroup(edgesPen, group);
  const links = (view.seenLinks = linksIn(seen));
  const hairline = 1 / camera.scale;
  edgesPen.strokeStyle = edgesPen.fillStyle = colours.dim;
  edgesPen.globalAlpha = detail ? 0.75 : 0.4;
  edgesPen.lineWidth = detail ? 1.2 : 0.8 * hairline;
  edgesPen.beginPath();
  for (const link of links) trace(edgesPen, link, detail);
  edgesPen.stroke();
  if (detail) {
    edgesPen.beginPath();
    for (const link of links) arrow(edgesPen, link, camera.scale);
    edgesPen.fill();
  }
  edgesPen.globalAlpha = 1;
  drawPathLinks(links, detail);
}

function drawPathLinks(links, detail) {
  const { path } = state;
  view.pathLinks = new Set(path ? links.filter((link) => link.edges.some((edge) => path.edges.has(edge))) : []);
  edgesPen.strokeStyle = edgesPen.fillStyle = colours.path;
  edgesPen.lineWidth = 2.4 / Math.min(1, camera.scale);
  edgesPen.beginPath();
  for (const link of view.pathLinks) trace(edgesPen, link, detail);
  edgesPen.stroke();
  edgesPen.beginPath();
  for (const link of view.pathLinks) arrow(edgesPen, link, camera.scale);
  edgesPen.fill();
}

function drawNodes() {
  nodesStale = false;
  const pen = nodesPen;
  toGraph(pen);
  const detail = camera.scale >= DETAIL;
  const looks = looksNow();
  const strong = 1 / Math.min(1, camera.scale);
  for (const [link, colour] of looks.links) {
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = 2.4 * strong;
    pen.beginPath();
    trace(pen, link, detail);
    pen.stroke();
    pen.beginPath();
    arrow(pen, link, camera.scale);
    pen.fill();
  }
  const items = itemsIn(seenPart());
  if (detail) {
    for (const item of items) drawItem(pen, item, state.step, looks.items.get(item) || {});
    drawLabels(pen, looks);
  } else drawDots(pen, items, looks, strong);
}

// from afar: a bar for each node, its halves coloured when its value, its adjoint are known
function drawDots(pen, items, looks, strong) {
  const step = state.step;
  const high = Math.max(BOX, Math.min(CELL, 3 * strong));
  const kinds = [
    [colours.later, (item) => !hasValue(item.shown, step), 0, 1],
    [colours.value, (item) => hasValue(item.shown, step), 0, 1],
    [colours.adjoint, (item) => adjointAt(item.shown, step), 0.5, 0.5],
  ];
  for (const [colour, has, from, part] of kinds) {
    pen.fillStyle = colour;
    for (const item of items) {
      if (has(item)) pen.fillRect(item.x - item.width / 2, item.y - high / 2 + from * high, item.width, part * high);
    }
  }
  for (const item of items) {
    const colour = looks.items.get(item)?.colour || (spoiltAt(item.shown, step) && colours.bad);
    if (!colour) continue;
    pen.strokeStyle = colour;
    pen.lineWidth = 3 * strong;
    pen.strokeRect(
      item.x - item.width / 2 - 2 * strong,
      item.y - BOX / 2 - 2 * strong,
      item.width + 4 * strong,
      BOX + 4 * strong,
    );
  }
}

// local derivatives on the edges whose op is computed; a contribution on those of this step; none over another
function drawLabels(pen, looks) {
  pen.textBaseline = "middle";
  const taken = [];
  const put = (link, words, colour, now) => {
    const [x, y] = labelPlace(link);
    const half = widthOfText(words, now ? STRONG : SMALL) / 2 + 4;
    if (taken.some(([a, b, c]) => Math.abs(a - x) < half + c && Math.abs(b - y) < 15)) return;
    taken.push([x, y, half]);
    drawLabel(pen, words, x, y, colour, now);
  };
  const strong = (link) => looks.links.has(link) || view.pathLinks.has(link);
  const lit = view.seenLinks.filter(strong);
  for (const link of [...lit, ...view.seenLinks.filter((other) => !strong(other))]) {
    if (link.edges.length > 1) continue;
    const [edge] = link.edges;
    const target = nodeOf.get(edge.target);
    if (!hasValue(target, state.step)) continue;
    if (edge.contributed === state.step && edge.contribution) {
      put(link, contributionLabel(edge), colours.adjoint, true);
    } else {
      const words = edgeLabel(edge);
      if (words) put(link, words, colours.derivative, strong(link));
    }
  }
}

// what is lit: this step, what is pointed at with its inputs, the picked path
function looksNow() {
  const items = new Map(),
    links = new Map();
  const item = (node) => view.viewOf.get(node.id);
  const { picks, focus } = state;
  const now = steps[state.step];
  if (now.node) {
    const colour = now.walk === "forward" ? colours.value : colours.adjoint;
    if (now.walk !== "seed") {
      for (const link of item(now.node).links) {
        if (link.edges.some((edge) => edge.target === now.node.id && (now.walk === "forward" || edge.wanted)))
          links.set(link, colour);
      }
    }
    items.set(item(now.node), { colour });
  }
  for (const node of picks) items.set(item(node), { colour: colours.path });
  if (focus) {
    for (const link of item(focus).links) {
      links.set(link, colours.lit);
      if (!items.has(link.source)) items.set(link.source, { colour: colours.lit });
    }
    items.set(item(focus), { colour: colours.lit });
  }
  return { items, links };
}

function draw() {
  resize();
  if (edgesStale) drawEdges();
  drawNodes();
}

function itemAt(x, y) {
  const [gx, gy] = graphPlace(x, y);
  const near = 3 / camera.scale;
  return itemsIn({ left: gx, right: gx, top: gy, bottom: gy }).find(
    (item) => Math.abs(item.x - gx) <= item.width / 2 + near && Math.abs(item.y - gy) <= CELL / 2 + near,
  );
}

function groupAt(x, y) {
  if (camera.scale < DETAIL) return undefined;
  const [gx, gy] = graphPlace(x, y);
  return view.groups.findLast(
    ({ boxes: [{ left, right, top }] }) => gx >= left && gx <= right && gy >= top && gy <= top + 18,
  );
}

{
  let grip = null,
    moved = false;
  const place = (event) => {
    const box = nodesCanvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  nodesCanvas.addEventListener("pointerdown", (event) => {
    grip = [event.clientX, event.clientY];
    moved = false;
    nodesCanvas.setPointerCapture(event.pointerId);
  });
  nodesCanvas.addEventListener("pointermove", (event) => {
    if (grip) {
      const [dx, dy] = [event.clientX - grip[0], event.clientY - grip[1]];
      if (!moved && Math.hypot(dx, dy) < 4) return;
      moved = true;
      grip = [event.clientX, event.clientY];
      camera.moved = true;
      camera.x -= dx / camera.scale;
      camera.y -= dy / camera.scale;
      edgesStale = true;
      changed();
      return;
    }
    const item = itemAt(...place(event));
    nodesCanvas.style.cursor = item || groupAt(...place(event)) ? "pointer" : "grab";
    pointAt(item ? item.shown : null, item);
  });
  nodesCanvas.addEventListener("pointerup", (event) => {
    const pressed = grip && !moved;
    grip = null;
    if (!pressed) return;
    const [x, y] = place(event);
    const item = itemAt(x, y),
      group = groupAt(x, y);
    if (item && item.module !== undefined && x < seenPlace(item.x - item.width / 2 + 20, 0)[0]) unfold(item.module);
    else if (item) pick(item.shown);
    else if (group) fold(group.path);
  });
  nodesCanvas.addEventListener("dblclick", (event) => {
    const item = itemAt(...place(event));
    if (item && item.module !== undefined) unfold(item.module);
  });
  nodesCanvas.addEventListener("pointerleave", () => {
    if (!grip) pointAt(null);
  });
  nodesCanvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...place(event));
      changed();
    },
    { passive: false },
  );
}
