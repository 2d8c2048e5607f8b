// Paths between two nodes, their products of local derivatives and the sum of these.

const MOST_PATHS = 24; // more are counted, not listed

function pathsBetween(a, b) {
  if (a.computed > b.computed) [a, b] = [b, a];
  // how many paths lead on to b, and the sum of their products, from b backwards
  const below = new Map([[b, { many: 1n, sum: 1 }]]);
  const order = nodes.filter((node) => node.computed <= b.computed).sort((x, y) => y.computed - x.computed);
  for (const node of order) {
    if (node === b || (node !== a && node.computed <= a.computed)) continue;
    let many = 0n,
      sum = 0;
    for (const edge of node.from) {
      const rest = below.get(nodeOf.get(edge.target));
      if (!rest) continue;
      many += rest.many;
      sum += edge.derivative === null || edge.derivative === undefined ? NaN : numeric(edge.derivative) * rest.sum;
    }
    if (many) below.set(node, { many, sum });
  }
  const found = below.get(a);
  if (a === b || !found) return { from: a, to: b, many: 0n, paths: [], edges: new Set(), nodes: [] };
  const edges = new Set();
  const reached = new Set([a]);
  for (const node of [a, ...order.slice().reverse()]) {
    if (!reached.has(node) || !below.has(node)) continue;
    for (const edge of node.from) {
      const target = nodeOf.get(edge.target);
      if (below.has(target)) {
        edges.add(edge);
        reached.add(target);
      }
    }
  }
  const scalars = [...edges].every((edge) => edge.derivative !== null && edge.derivative !== undefined);
  const paths = found.many <= BigInt(MOST_PATHS) ? listed(a, b, below) : [];
  return {
    from: a,
    to: b,
    many: found.many,
    sum: scalars ? found.sum : null,
    scalars,
    paths,
    edges,
    nodes: [...reached],
  };
}

// from a to b along edges below, each path as a list of edges
function listed(a, b, below) {
  const paths = [];
  const stack = [{ node: a, edge: null, before: null }];
  while (stack.length) {
    const end = stack.pop();
    if (end.node === b) {
      const edges = [];
      for (let at = end; at.edge; at = at.before) edges.push(at.edge);
      paths.push(edges.reverse());
      continue;
    }
    for (const edge of end.node.from.slice().reverse()) {
      const node = nodeOf.get(edge.target);
      if (below.has(node)) stack.push({ node, edge, before: end });
    }
  }
  return paths;
}

const product = (edges) => edges.reduce((all, edge) => all * numeric(edge.derivative), 1);
