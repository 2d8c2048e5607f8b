// Drawing on the two canvases of the graph: edges below, which change with the view alone, and nodes above them.

const FONT = '"DejaVu Sans", "Segoe UI", system-ui, sans-serif';
const BOLD = `600 13px ${FONT}`,
  SMALL = `11px ${FONT}`,
  FIGURE = `12px ${FONT}`;
const HISTOGRAM = 36; // width of a small histogram
const DETAIL = 0.42; // the scale from which texts are drawn

const edgesCanvas = document.getElementById("edges"),
  nodesCanvas = document.getElementById("nodes");
const edgesPen = edgesCanvas.getContext("2d"),
  nodesPen = nodesCanvas.getContext("2d");

let colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = [
    "back",
    "panel",
    "ink",
    "dim",
    "rule",
    "box",
    "box-edge",
    "value",
    "adjoint",
    "derivative",
    "lit",
    "path",
    "bad",
    "leaf",
    "later",
  ];
  for (const name of names) colours[name] = style.getPropertyValue(`--${name}`).trim();
}

const widths = new Map();
function widthOfText(words, font) {
  const key = font + words;
  let width = widths.get(key);
  if (width === undefined) {
    nodesPen.font = font;
    widths.set(key, (width = nodesPen.measureText(words).width));
  }
  return width;
}

const shortened = (words, most) => (words.length > most ? `${words.slice(0, most - 1)}\u2026` : words);
// a name inside its module's box goes without the module's
const localName = (item) =>
  item.module === undefined && item.shown.module && item.shown.name.startsWith(`${item.shown.module}.`)
    ? item.shown.name.slice(item.shown.module.length + 1)
    : itemName(item);
const nameText = (item) => shortened(localName(item), 26);
const detailText = (item) => shortened(itemDetail(item), 28);
const sizeText = (item) => (item.module === undefined && item.shown.shape.length ? shapeText(item.shown.shape) : "");

function boxWidth(item) {
  const size = sizeText(item);
  const title = widthOfText(nameText(item), BOLD) + (size ? 6 + widthOfText(size, SMALL) : 0);
  const figures = [item.shown.value, item.shown.adjoint].map((q) => figureWidth(q));
  return (
    Math.max(48, title + 20, widthOfText(detailText(item), SMALL) + 20, ...figures) +
    (item.module === undefined ? 0 : 20)
  );
}

const figureWidth = (q) => (q ? widthOfText(figureText(q), FIGURE) + (q.histogram ? HISTOGRAM + 6 : 0) : 0);

// tensors as norm and histogram, scalars as their number
function figureText(q) {
  if (scalar(q)) return text(q.number);
  return badText(q) || `\u2016\u00b7\u2016 ${text(q.norm)}`;
}

function edgeLabel(edge) {
  if (edge.derivative !== null && edge.derivative !== undefined) return text(edge.derivative);
  if (edge.jacobian && edge.jacobian.norm !== null && edge.jacobian.norm !== undefined)
    return `\u2016J\u2016 ${text(edge.jacobian.norm)}`;
  return jacobianText(edge);
}

// a Jacobian as a matrix: elements of what is computed by elements of what is read
function jacobianText(edge) {
  if (!edge.jacobian) return edge.derivative === null || edge.derivative === undefined ? "" : text(edge.derivative);
  return `J\u00a0${edge.jacobian.shape.map((shape) => shape.reduce((a, b) => a * b, 1)).join("\u00d7")}`;
}

// what an edge carries in its step of the reverse walk, with the numbers of the product where there is room
function contributionLabel(edge) {
  if (!edge.contribution) return "";
  const made = scalar(edge.contribution) ? text(edge.contribution.number) : figureText(edge.contribution);
  const whole = `${edge.numbers} = ${made}`;
  return edge.numbers && widthOfText(whole, STRONG) <= 112 ? whole : `+ ${made}`;
}

const STRONG = `600 12px ${FONT}`;
const labelWidth = ({ edges }) =>
  edges.length === 1
    ? Math.max(widthOfText(edgeLabel(edges[0]), SMALL), widthOfText(contributionLabel(edges[0]), STRONG))
    : 0;

function trace(pen, link, detail) {
  const { points, bend } = link;
  pen.moveTo(points[0], points[1]);
  const shift = bend * 44;
  for (let i = 2; i < points.length; i += 2) {
    const [x0, y0, x1, y1] = [points[i - 2], points[i - 1], points[i], points[i + 1]];
    if (!detail || (y0 === y1 && !shift)) pen.lineTo(x1, y1);
    else {
      const half = (x1 - x0) / 2;
      pen.bezierCurveTo(x0 + half, y0 + shift, x1 - half, y1 + shift, x1, y1);
    }
  }
}

function arrow(pen, link, scale) {
  const x = link.points.at(-2),
    y = link.points.at(-1);
  const size = 7 / Math.max(scale, 0.7);
  const slope = link.bend * 0.5;
  pen.moveTo(x, y);
  pen.lineTo(x - size, y - size / 2 + slope * size);
  pen.lineTo(x - size, y + size / 2 + slope * size);
  pen.closePath();
}

// the middle of the segment that a label stands on: nearer to the end where fewer edges meet
function labelPlace(link) {
  const points = link.points;
  const long = points.length - 4;
  const crowded = link.target.into.length > link.source.out.length;
  const at = crowded ? 0 : long,
    t = crowded ? 0.42 : 0.55;
  const [x0, y0, x1, y1] = points.slice(at, at + 4);
  const s = t * t * (3 - 2 * t);
  return [x0 + (x1 - x0) * t, y0 + (y1 - y0) * s + link.bend * 33];
}

function drawLabel(pen, words, x, y, colour, strong) {
  const width = widthOfText(words, strong ? STRONG : SMALL);
  pen.font = strong ? STRONG : SMALL;
  pen.fillStyle = colours.back;
  pen.globalAlpha = 0.88;
  pen.fillRect(x - width / 2 - 3, y - 8, width + 6, 16);
  pen.globalAlpha = 1;
  pen.fillStyle = colour;
  pen.fillText(words, x - width / 2, y);
}

function drawHistogram(pen, histogram, x, y, colour) {
  const most = Math.max(1, ...histogram.counts);
  const width = HISTOGRAM / histogram.counts.length;
  pen.fillStyle = colours.rule;
  pen.fillRect(x, y + 6, HISTOGRAM, 1);
  pen.fillStyle = colour;
  histogram.counts.forEach((count, i) => {
    const height = count && Math.max(1, (13 * count) / most);
    if (height) pen.fillRect(x + i * width, y + 6 - height, Math.max(width - 0.5, 0.5), height);
  });
}

// a number, or norm and histogram, centred at (x, y)
function drawFigure(pen, words, histogram, x, y, colour) {
  pen.font = FIGURE;
  const width = widthOfText(words, FIGURE);
  const left = x - (width + (histogram ? HISTOGRAM + 6 : 0)) / 2;
  pen.fillStyle = colour;
  pen.fillText(words, left, y);
  if (histogram) drawHistogram(pen, histogram, left + width + 6, y, colour);
}

function drawItem(pen, item, step, look) {
  const { x, y, width, shown } = item;
  const left = x - width / 2,
    top = y - BOX / 2;
  const known = hasValue(shown, step);
  const adjoint = adjointAt(shown, step);
  pen.globalAlpha = known ? 1 : 0.55;
  pen.fillStyle = shown.kind === "op" || item.module !== undefined ? colours.box : colours.leaf;
  const spoilt = spoiltAt(shown, step);
  pen.strokeStyle = spoilt ? colours.bad : look.colour || colours["box-edge"];
  pen.lineWidth = look.colour || spoilt ? 3 : 1.2;
  pen.setLineDash(known || look.colour ? [] : [4, 3]);
  pen.beginPath();
  pen.roundRect(
    left,
    top,
    width,
    BOX,
    shown.kind === "op" && item.module === undefined ? 8 : item.module === undefined ? 20 : 2,
  );
  pen.fill();
  pen.stroke();
  pen.setLineDash([]);
  pen.textBaseline = "middle";
  const name = nameText(item),
    size = sizeText(item);
  const nameWidth = widthOfText(name, BOLD),
    sizeWidth = size ? 6 + widthOfText(size, SMALL) : 0;
  const shift = item.module === undefined ? 0 : 8;
  pen.fillStyle = colours.ink;
  pen.font = BOLD;
  pen.fillText(name, x + shift - (nameWidth + sizeWidth) / 2, y - 7);
  pen.fillStyle = colours.dim;
  pen.font = SMALL;
  if (size) pen.fillText(size, x - (nameWidth + sizeWidth) / 2 + nameWidth + 6, y - 7);
  const detail = detailText(item);
  pen.fillText(detail, x + shift - widthOfText(detail, SMALL) / 2, y + 9);
  if (item.module !== undefined) {
    pen.font = BOLD;
    pen.fillText("+", left + 7, y);
    drawProgress(pen, item, step, left, top);
  }
  pen.globalAlpha = 1;
  if (known) drawFigure(pen, figureText(shown.value), shown.value.histogram, x, top - 10, colours.value);
  if (adjoint) {
    const words = adjoint.quantity ? figureText(adjoint.quantity) : adjoint.text;
    drawFigure(pen, words, adjoint.quantity && adjoint.quantity.histogram, x, top + BOX + 11, colours.adjoint);
  }
}

// how much of a folded module is computed, how much is walked in reverse
function drawProgress(pen, item, step, left, top) {
  const ops = item.members.filter((node) => node.kind === "op");
  const part = (done) => (ops.length ? ops.filter(done).length / ops.length : 0);
  pen.globalAlpha = 1;
  pen.fillStyle = colours.value;
  pen.fillRect(left, top, item.width * part((node) => hasValue(node, step)), 3);
  pen.fillStyle = colours.adjoint;
  const walked = item.width * part((node) => reversed.get(node.id) <= step);
  pen.fillRect(left + item.width - walked, top + BOX - 3, walked, 3);
}

function drawGroup(pen, group) {
  const { boxes } = group;
  const above = boxes.flatMap(({ left, right, top }) => [
    [left, top],
    [right, top],
  ]);
  const below = boxes.flatMap(({ left, right, bottom }) => [
    [left, bottom],
    [right, bottom],
  ]);
  pen.fillStyle = colours.panel;
  pen.strokeStyle = colours.rule;
  pen.lineWidth = 1;
  rounded(pen, [...above, ...below.reverse()]);
  pen.fill();
  pen.stroke();
  pen.font = SMALL;
  pen.textBaseline = "middle";
  pen.fillStyle = colours.dim;
  pen.fillText(groupLabel(group), boxes[0].left + 8, boxes[0].top + 9);
}

// a closed outline with round corners
function rounded(pen, points) {
  pen.beginPath();
  points.forEach(([x, y], i) => {
    const [before, after] = [points.at(i - 1), points[(i + 1) % points.length]];
    const room = Math.min(Math.hypot(before[0] - x, before[1] - y), Math.hypot(after[0] - x, after[1] - y)) / 2;
    if (!i) pen.moveTo((before[0] + x) / 2, (before[1] + y) / 2);
    pen.arcTo(x, y, after[0], after[1], Math.min(7, room));
  });
  pen.closePath();
}

function groupLabel(group) {
  const kind = kindOf.get(group.path);
  const most = Math.max(6, Math.floor((group.boxes[0].right - group.boxes[0].left - 20) / 6.4));
  return shortened(`\u2212 ${group.path}${kind ? ` \u00b7 ${kind}` : ""}`, most);
}
