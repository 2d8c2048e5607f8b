// The explanation by node, and what is known of it after each step.
//
// Steps: 0 is the start (only inputs, parameters and constants have values), then one for each op of the forward walk,
// then the seed (the output's adjoint), then one for each op of the reverse walk.

const explanation = JSON.parse(document.getElementById("explanation").textContent);
const nodes = explanation.nodes;
const nodeOf = new Map(nodes.map((node) => [node.id, node]));
const output = nodeOf.get(explanation.output);

for (const node of nodes) Object.assign(node, { into: [], from: [], computed: 0 });
for (const edge of explanation.edges) {
  nodeOf.get(edge.target).into.push(edge);
  nodeOf.get(edge.source).from.push(edge);
}

const steps = [{ walk: "start", node: null }];
for (const id of explanation.forward) {
  nodeOf.get(id).computed = steps.length;
  steps.push({ walk: "forward", node: nodeOf.get(id) });
}
const seedStep = explanation.reverse.length || output.adjoint ? steps.length : Infinity;
if (seedStep < Infinity) steps.push({ walk: "seed", node: output });
const reversed = new Map(explanation.reverse.map((id, at) => [id, seedStep + 1 + at]));
for (const id of explanation.reverse) steps.push({ walk: "reverse", node: nodeOf.get(id) });
const lastStep = steps.length - 1;

// the step at which an edge brings its contribution; edges of a source in that order
for (const edge of explanation.edges) {
  edge.contributed = edge.wanted && reversed.has(edge.target) ? reversed.get(edge.target) : Infinity;
}
for (const node of nodes) {
  node.contributions = node.from
    .filter((edge) => edge.contributed < Infinity)
    .sort((a, b) => a.contributed - b.contributed);
}

const unlike = { nan: NaN, inf: Infinity, "-inf": -Infinity };
const numeric = (x) => (typeof x === "string" ? unlike[x] : x);

// live bytes after each step; a step that the timeline lacks keeps those before it
const liveBytes = new Float64Array(steps.length);
{
  const at = new Map(explanation.memory.map((m) => [`${m.walk} ${m.node}`, m.bytes]));
  steps.forEach((step, i) => {
    const bytes = step.node && at.get(`${step.walk} ${step.node.id}`);
    liveBytes[i] = bytes === null || bytes === undefined ? (i ? liveBytes[i - 1] : 0) : bytes;
  });
}

// --- numbers as text

function text(x) {
  x = numeric(x);
  if (x === null || x === undefined) return "";
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  if (Number.isInteger(x) && Math.abs(x) < 1e9) return String(x === 0 ? 0 : x);
  const size = Math.abs(x);
  return size >= 1e6 || size < 1e-4
    ? String(Number(x.toPrecision(4)).toExponential())
    : String(Number(x.toPrecision(5)));
}

const scalar = (q) => q !== null && q !== undefined && q.number !== null && q.number !== undefined;
const shapeText = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;

function elementsText(x) {
  return Array.isArray(x) ? `[${x.map(elementsText).join(", ")}]` : text(x);
}

// how many elements of an array are no numbers
const badText = (q) => [q.nan && `${q.nan} nan`, q.infinite && `${q.infinite} inf`].filter(Boolean).join(", ");

// one line for a value or an adjoint: a number, few elements, or the norm
function quantityText(q) {
  if (!q) return "";
  if (scalar(q)) return text(q.number);
  if (q.elements) {
    const all = elementsText(q.elements);
    if (all.length <= 24) return all;
  }
  return badText(q) || `\u2016\u00b7\u2016 ${text(q.norm)}`;
}

function bytesText(bytes) {
  for (const [size, unit] of [
    [2 ** 30, "GiB"],
    [2 ** 20, "MiB"],
    [2 ** 10, "KiB"],
  ]) {
    if (bytes >= size) return `${(bytes / size).toPrecision(3)} ${unit}`;
  }
  return `${bytes} B`;
}

const partial = (node) => `\u2202${output.name}/\u2202${node.name}`;
// what an edge reads: a node, or a view of a part of it
const readName = (edge) => nodeOf.get(edge.source).name + edge.part;
const localPartial = (edge) => `\u2202${nodeOf.get(edge.target).name}/\u2202${readName(edge)}`;

// the local derivative on an edge: a number for scalars, the Jacobian's shape and norm for tensors
function derivativeText(edge) {
  if (edge.derivative !== null && edge.derivative !== undefined) return text(edge.derivative);
  if (edge.jacobian) {
    const [to, from] = edge.jacobian.shape;
    const norm =
      edge.jacobian.norm === null || edge.jacobian.norm === undefined
        ? ""
        : ` \u2016J\u2016 ${text(edge.jacobian.norm)}`;
    return `J ${[to, from].map((shape) => (shape.length ? shapeText(shape) : "1")).join("\u00d7")}${norm}`;
  }
  return "";
}

// --- what is known after a step

const hasValue = (node, step) => node.computed <= step;

function received(node, step) {
  let many = 0;
  while (many < node.contributions.length && node.contributions[many].contributed <= step) many++;
  return many;
}

function plus(a, b) {
  if (Array.isArray(a) !== Array.isArray(b)) return null;
  if (!Array.isArray(a)) return numeric(a) + numeric(b);
  if (a.length !== b.length) return null;
  const sums = a.map((x, i) => plus(x, b[i]));
  return sums.includes(null) ? null : sums;
}

// the sum of some contributions, where their elements are known
function sumOf(contributions) {
  let sum = null;
  for (const { contribution, part } of contributions) {
    const elements = contribution && (scalar(contribution) ? contribution.number : contribution.elements);
    if (elements === null || elements === undefined || part) return null;
    sum = sum === null ? elements : plus(sum, elements);
    if (sum === null) return null;
  }
  return sum;
}

// the adjoint after a step: none, a partial sum, or the whole
function adjointAt(node, step) {
  if (!node.adjoint) return null;
  if (node === output && seedStep <= step)
    return { text: quantityText(node.adjoint), quantity: node.adjoint, whole: true };
  const all = node.contributions.length;
  const many = received(node, step);
  if (!many) return null;
  if (many === all) return { text: quantityText(node.adjoint), quantity: node.adjoint, whole: true };
  const sum = sumOf(node.contributions.slice(0, many));
  const words = sum === null ? "" : elementsText(sum);
  return {
    text: words && words.length <= 24 ? `${words} \u2026` : `${many} of ${all} \u2026`,
    quantity: null,
    whole: false,
  };
}

// whether NaN or infinities are known in a value, or in an adjoint
function spoiltAt(node, step) {
  const spoilt = (q) => q && (q.nan || q.infinite);
  return (hasValue(node, step) && spoilt(node.value)) || (spoilt(node.adjoint) && adjointAt(node, step) !== null);
}
