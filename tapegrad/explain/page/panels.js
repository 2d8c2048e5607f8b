// What is said of the step, of the node that is pointed at, of the picked path.

const nowBox = document.getElementById("now"),
  cardBox = document.getElementById("card"),
  pathBox = document.getElementById("path");

const counted = (many, thing) => `${many} ${thing}${many === 1 ? "" : "s"}`;

function walkText(step) {
  const { walk } = steps[step];
  if (walk === "start") return "Start";
  if (walk === "seed") return "Seed of the reverse walk";
  if (walk === "forward") return `Forward ${step} of ${explanation.forward.length}`;
  return `Reverse ${step - seedStep} of ${explanation.reverse.length}`;
}

// formula with numbers and the value
function numbersText(node) {
  const value = scalar(node.value) ? text(node.value.number) : "";
  if (node.numbers) return value && !node.numbers.endsWith(` = ${value}`) ? `${node.numbers} = ${value}` : node.numbers;
  return value ? `${node.name} = ${value}` : "";
}

// "2 + 3 = 5" for a contribution and those before it
function sumText(node, at) {
  const parts = node.contributions.slice(0, at + 1);
  const sum =
    at + 1 === node.contributions.length
      ? node.adjoint && (scalar(node.adjoint) ? node.adjoint.number : null)
      : sumOf(parts);
  if (sum === null || Array.isArray(sum) || !parts.every((edge) => scalar(edge.contribution))) {
    return at + 1 === node.contributions.length ? quantityText(node.adjoint) : "";
  }
  const numbers = parts.map((edge) => text(edge.contribution.number));
  const shown = numbers.length > 4 ? ["\u2026", ...numbers.slice(-2)] : numbers;
  return numbers.length === 1
    ? text(sum)
    : `${shown.reduce((all, x) => (x.startsWith("-") ? `${all} - ${x.slice(1)}` : `${all} + ${x}`))} = ${text(sum)}`;
}

function contributionsAt(step) {
  const { walk, node } = steps[step];
  if (walk !== "reverse") return [];
  return node.into
    .filter((edge) => edge.contributed === step && edge.contribution)
    .map((edge) => {
      const source = nodeOf.get(edge.source),
        at = source.contributions.indexOf(edge);
      const made = quantityText(edge.contribution);
      return {
        edge,
        source,
        numbers: edge.numbers ? `${edge.numbers} = ${made}` : made,
        sum: sumText(source, at),
        at: at + 1,
        of: source.contributions.length,
      };
    });
}

// the step in one sentence, for the live region
function stepWords(step) {
  const { walk, node } = steps[step];
  const place = `Step ${step} of ${lastStep}, ${walkText(step)}`;
  if (walk === "start") return `${place}: inputs, parameters and constants have their values.`;
  if (walk === "seed") return `${place}: ${partial(output)} = ${quantityText(output.adjoint)}.`;
  if (walk === "forward") return `${place}: ${node.formula}. ${numbersText(node) || describe(node.value, node.shape)}.`;
  const all = contributionsAt(step).map(
    ({ source, numbers, sum, at, of }) =>
      `${partial(source)} receives ${numbers}${of > 1 ? `, ${at} of ${of}, ${sum}` : ""}`,
  );
  return `${place}: ${node.formula}. g = ${quantityText(node.adjoint)}. ${all.join("; ")}.`;
}

function describe(q, shape) {
  if (!q) return "";
  if (scalar(q)) return text(q.number);
  const words = [`norm ${text(q.norm)}`, `mean ${text(q.mean)}`, `from ${text(q.min)} to ${text(q.max)}`];
  if (q.zeros) words.push(counted(q.zeros, "zero"));
  if (badText(q)) words.push(badText(q));
  return `${shape ? `${shapeText(shape)} ` : ""}${words.join(", ")}`;
}

function histogramPicture(q, kind) {
  if (!q || !q.histogram) return "";
  const most = Math.max(1, ...q.histogram.counts);
  const picture = svg("svg", {
    viewBox: "0 0 64 20",
    width: "64",
    height: "20",
    class: `histogram ${kind}`,
    role: "img",
    "aria-label": `histogram from ${text(q.histogram.low)} to ${text(q.histogram.high)}`,
  });
  q.histogram.counts.forEach((count, i) => {
    const height = count && Math.max(1, (20 * count) / most);
    picture.append(svg("rect", { x: String(4 * i), y: String(20 - height), width: "3.5", height: String(height) }));
  });
  return picture;
}

function place(node) {
  return node && node.where
    ? element(
        "p",
        { class: "where" },
        element("span", {}, `${node.where.file}:${node.where.line}`),
        " ",
        element("code", {}, node.where.code),
      )
    : "";
}

function drawNow() {
  const { step } = state;
  const { walk, node } = steps[step];
  const parts = [element("h2", { class: walk }, walkText(step))];
  if (walk === "start")
    parts.push(element("p", {}, "Inputs, parameters and constants have their values. Each step computes one node."));
  if (walk === "seed") {
    parts.push(
      element(
        "p",
        { class: "formula" },
        `${partial(output)} = `,
        element("b", { class: "adjoint" }, quantityText(output.adjoint)),
      ),
    );
    parts.push(
      element("p", {}, "Now in reverse: each op hands its adjoint g to its inputs, times the local derivatives."),
    );
  }
  if (walk === "forward") {
    parts.push(element("p", { class: "formula" }, node.formula));
    parts.push(
      scalar(node.value)
        ? element("p", { class: "formula value" }, numbersText(node))
        : element(
            "p",
            { class: "value" },
            describe(node.value, node.shape),
            " ",
            histogramPicture(node.value, "value"),
          ),
    );
  }
  if (walk === "reverse") {
    parts.push(element("p", { class: "formula" }, node.formula));
    parts.push(
      element(
        "p",
        {},
        `g = ${partial(node)} = `,
        element("b", { class: "adjoint" }, quantityText(node.adjoint)),
        " ",
        scalar(node.adjoint) ? "" : histogramPicture(node.adjoint, "adjoint"),
      ),
    );
    const all = contributionsAt(step);
    const body = element(
      "tbody",
      {},
      ...all.map(({ edge, source, numbers, sum, at, of }) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, `\u2202${output.name}/\u2202${readName(edge)}`),
          element("td", { class: "derivative" }, edge.rule),
          element("td", { class: "adjoint" }, numbers),
          element("td", {}, of > 1 ? `${sum}${sum ? ", " : ""}${at} of ${of}` : ""),
        ),
      ),
    );
    const several = all.some(({ of }) => of > 1) ? ["sum"] : [];
    const head = element(
      "tr",
      {},
      ...["to", "rule", "contribution", ...several].map((name) => element("th", { scope: "col" }, name)),
    );
    if (all.length) parts.push(element("table", { class: "contributions" }, element("thead", {}, head), body));
  }
  parts.push(place(node));
  nowBox.replaceChildren(...parts.filter(Boolean));
  document.getElementById("place").textContent = `${step} / ${lastStep}`;
}

let carded = null;
function drawCard() {
  const node = state.focus;
  if (!node) {
    cardBox.hidden = true;
    carded = null;
    return;
  }
  const key = `${node.id} ${state.step}`;
  const item = view.viewOf.get(node.id);
  const [x] = seenPlace(item.x, item.y);
  cardBox.classList.toggle("right", x < size.width / 2);
  if (carded === key) return;
  carded = key;
  const known = hasValue(node, state.step),
    adjoint = adjointAt(node, state.step);
  const entries = [];
  const say = (name, ...words) => entries.push(element("dt", {}, name), element("dd", {}, ...words));
  if (item.module !== undefined) say("module", `${item.module}, ${itemDetail(item)}; shown is its output`);
  say(node.kind === "op" ? "op" : "kind", node.kind === "op" ? `${node.op}` : node.kind);
  if (node.kind === "op") say("formula", known && numbersText(node) ? numbersText(node) : node.formula);
  say("type", `${node.dtype} ${node.shape.length ? shapeText(node.shape) : "scalar"}`);
  if (known) {
    say("value", element("span", { class: "value" }, describe(node.value)), " ", histogramPicture(node.value, "value"));
    if (!scalar(node.value) && node.value.elements) say("", shortened(elementsText(node.value.elements), 160));
  }
  if (adjoint) {
    const words = adjoint.quantity ? describe(adjoint.quantity) : adjoint.text;
    say(
      partial(node),
      element("span", { class: "adjoint" }, words),
      " ",
      histogramPicture(adjoint.quantity, "adjoint"),
    );
  }
  if (node.stored && node.stored.bytes) {
    const kept = node.stored.of.map(({ node: id, bytes, read_by: readers }) => {
      const name = nodeOf.has(id) ? nodeOf.get(id).name : "its own";
      return `${name} ${bytesText(bytes)}${readers.length ? ` for the adjoint of ${readers.join(", ")}` : ""}`;
    });
    say("keeps", `${bytesText(node.stored.bytes)}: ${kept.join("; ")}`);
  }
  if (node.module && item.module === undefined) say("module", node.module);
  cardBox.replaceChildren(element("h2", {}, itemName(item)), element("dl", {}, ...entries), place(node) || "");
  cardBox.hidden = false;
}

// --- the picked path

function drawPath() {
  const { picks, path } = state;
  pathBox.hidden = !picks.length;
  if (!picks.length) return;
  const parts = path
    ? pathParts(path)
    : [
        element("h2", {}, `From ${picks[0].name}`),
        element("p", {}, "Pick another node: the path between them, and its product."),
      ];
  const clear = element("button", { type: "button", title: "Clear (Escape)" }, "Clear");
  clear.addEventListener("click", clearPath);
  parts[0].append(clear);
  pathBox.replaceChildren(...parts);
}

function pathParts({ from, to, many, paths, sum, scalars }) {
  const count = many === 0n ? "no path" : many === 1n ? "1 path" : `${many} paths`;
  const parts = [element("h2", {}, `${from.name} \u2192 ${to.name}: ${count}`)];
  if (many === 0n) return parts;
  if (paths.length) parts.push(element("ol", {}, ...paths.map((edges) => pathLine(from, edges, scalars))));
  else parts.push(element("p", {}, `Too many to list.${scalars ? " Their products add up:" : ""}`));
  if (!scalars) return parts;
  if (paths.length !== 1) {
    const terms = paths
      .map((edges) => text(product(edges)))
      .join(" + ")
      .replaceAll("+ -", "- ");
    const equation = `\u2202${to.name}/\u2202${from.name} = ${terms ? `${shortened(terms, 120)} = ` : ""}`;
    parts.push(element("p", { class: "sum" }, equation, element("b", { class: "derivative" }, text(sum))));
  }
  if (to === output && from.adjoint && scalar(from.adjoint)) {
    const whole = numeric(from.adjoint.number);
    const same = Math.abs(sum - whole) <= 1e-5 * Math.max(1, Math.abs(whole)) || text(sum) === text(whole);
    parts.push(
      element("p", {}, same ? "Equal to the adjoint of the reverse walk." : `The reverse walk gives ${text(whole)}.`),
    );
  }
  return parts;
}

// the nodes of a path and the product along it; of Jacobians, the last op's is the first factor
function pathLine(from, edges, scalars) {
  const names = [from, ...edges.map((edge) => nodeOf.get(edge.target))].map(({ name }) => name);
  const factors = scalars
    ? edges.map((edge) => text(edge.derivative)).map((x) => (x.startsWith("-") && edges.length > 1 ? `(${x})` : x))
    : edges.map((edge) => jacobianText(edge) || edge.rule).reverse();
  const whole = scalars && edges.length > 1 ? ` = ${text(product(edges))}` : "";
  const words = abridged(factors).join(" \u00b7 ") + whole;
  return element(
    "li",
    {},
    element("span", { class: "way" }, abridged(names).join(" \u2192 ")),
    " ",
    element("b", { class: "derivative" }, words),
  );
}

const abridged = (words) => (words.length > 14 ? [...words.slice(0, 7), "\u2026", ...words.slice(-6)] : words);
