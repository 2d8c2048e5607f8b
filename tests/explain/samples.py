"""Explanations as `Explanation.to_dict` gives them, made in plain NumPy: reference data for pictures and pages."""

import math

import numpy as np


def quantity(x):
    """The figures of an array, as explanations give them."""
    x = np.asarray(x, dtype=float)
    finite = x[np.isfinite(x)]
    histogram = None
    if x.size > 1 and finite.size:
        counts, ends = np.histogram(finite, bins=16)
        histogram = {"counts": counts.tolist(), "low": float(ends[0]), "high": float(ends[-1])}
    return {
        "number": number(x.reshape(-1)[0]) if x.size == 1 else None,
        "elements": elements(x.tolist()) if x.size <= 64 else None,
        "norm": number(np.sqrt((x * x).sum())), "mean": number(x.mean()),
        "min": number(x.min()), "max": number(x.max()),
        "nan": int(np.isnan(x).sum()), "infinite": int(np.isinf(x).sum()), "zeros": int((x == 0).sum()),
        "histogram": histogram,
    }


def number(x):
    """A number as JSON has it; what JSON lacks, by name."""
    x = float(x)
    return x if math.isfinite(x) else str(x)


def elements(x):
    return [elements(part) for part in x] if isinstance(x, list) else number(x)


class Recorder:
    """Writes down a computation node by node; each op is given its value and the products with its Jacobians."""

    def __init__(self, title):
        self.title, self.nodes, self.edges, self.values, self.pulls = title, [], [], [], []
        self.module, self.kinds = "", {}

    def leaf(self, name, value, kind="input"):
        return self._node(name, value, kind, None, name, None, None)

    def op(self, op, inputs, value, formula, numbers=None, line=None):
        """One op. ``inputs``: (source, operand, rule, local derivative or None, shape of the Jacobian, pull)."""
        name = formula.split(" = ")[0]
        node = self._node(name, value, "op", op, formula, numbers, line)
        for source, operand, rule, derivative, jacobian, pull in inputs:
            self.edges.append({
                "source": source, "target": node, "operand": operand, "part": "", "wanted": pull is not None,
                "rule": rule, "numbers": None, "derivative": None if derivative is None else number(derivative),
                "jacobian": jacobian, "contribution": None})
            self.pulls.append(pull)
        return node

    def _node(self, name, value, kind, op, formula, numbers, line):
        value = np.asarray(value, dtype=float)
        self.values.append(value)
        where = None if line is None else {"file": "train.py", "line": line[0], "code": line[1]}
        self.nodes.append({
            "id": len(self.nodes), "name": name, "kind": kind, "op": op, "formula": formula, "numbers": numbers,
            "shape": list(value.shape), "dtype": "float64", "value": quantity(value), "adjoint": None,
            "module": self.module, "where": where, "stored": {"bytes": 0, "of": []}})
        return len(self.nodes) - 1

    def scalar(self, op, a, b, formula, line=None):
        """A binary op of two scalars."""
        x, y = float(self.values[a]), float(self.values[b])
        value = {"add": x + y, "mul": x * y, "sub": x - y}[op]
        da, db = {"add": (1.0, 1.0), "mul": (y, x), "sub": (1.0, -1.0)}[op]
        sign = {"add": "+", "mul": "*", "sub": "-"}[op]
        ra, rb = {"add": ("g", "g"), "mul": ("g b", "g a"), "sub": ("g", "-g")}[op]
        return self.op(op, [(a, "a", ra, da, None, lambda g: g * da), (b, "b", rb, db, None, lambda g: g * db)],
                       value, formula, f"{formula.split(' = ')[0]} = {x:g} {sign} {y:g}", line)

    def unary(self, op, a, formula, line=None):
        x = float(self.values[a])
        value = {"tanh": math.tanh(x), "sigmoid": 1 / (1 + math.exp(-x)), "relu": max(x, 0.0)}[op]
        d = {"tanh": 1 - value * value, "sigmoid": value * (1 - value), "relu": float(x > 0)}[op]
        rule = {"tanh": "g (1 - y^2)", "sigmoid": "g y (1 - y)", "relu": "g [x > 0]"}[op]
        name = formula.split(" = ")[0]
        return self.op(op, [(a, "x", rule, d, None, lambda g: g * d)], value, formula, f"{name} = {op}({x:.5g})", line)

    def explanation(self, output):
        """Walks in reverse from ``output`` and gives the dict."""
        adjoints = {output: np.ones_like(self.values[output])}
        forward = [node["id"] for node in self.nodes if node["kind"] == "op"]
        reverse = [i for i in reversed(forward) if i <= output]
        into = {}
        for at, edge in enumerate(self.edges):
            into.setdefault(edge["target"], []).append(at)
        for node in reverse:
            if node not in adjoints:
                continue
            for at in into[node]:
                edge = self.edges[at]
                if edge["wanted"]:
                    part = self.pulls[at](adjoints[node])
                    edge["contribution"] = quantity(part)
                    if edge["derivative"] is not None:
                        edge["numbers"] = f"{float(adjoints[node]):.5g} * {float(edge['derivative']):.5g}"
                    adjoints[edge["source"]] = adjoints.get(edge["source"], 0) + part
        for node, adjoint in adjoints.items():
            self.nodes[node]["adjoint"] = quantity(adjoint)
        live, memory = 0, []
        for node in forward:
            kept = self.values[node].nbytes
            self.nodes[node]["stored"] = {"bytes": kept, "of": [{"node": node, "bytes": kept, "read_by": ["x"]}]}
            live += kept
            memory.append({"walk": "forward", "node": node, "bytes": live})
        for node in reverse:
            memory.append({"walk": "reverse", "node": node, "bytes": live + self.values[node].nbytes})
            live -= self.values[node].nbytes
        return {
            "schema": 1, "title": self.title, "output": output, "dtype": "float64", "nodes": self.nodes,
            "edges": self.edges, "forward": forward, "reverse": [i for i in reverse if i in adjoints], "memory": memory,
            "modules": [{"path": path, "kind": kind} for path, kind in self.kinds.items()]}


def lecture():
    """f = (x + y) z at -2, 5, -4."""
    r = Recorder("f = (x + y) * z")
    x, y, z = r.leaf("x", -2), r.leaf("y", 5), r.leaf("z", -4)
    q = r.scalar("add", x, y, "q = x + y", (1, "q = x + y"))
    return r.explanation(r.scalar("mul", q, z, "f = q * z", (2, "f = q * z")))


def two_paths():
    """e = (a + b)(b + 1) at 2, 1: b reaches e by two paths, de/db = 2 + 3."""
    r = Recorder("e = (a + b) * (b + 1)")
    a, b, one = r.leaf("a", 2), r.leaf("b", 1), r.leaf("1", 1, "constant")
    c = r.scalar("add", a, b, "c = a + b", (4, "c = a + b"))
    d = r.scalar("add", b, one, "d = b + 1", (5, "d = b + 1"))
    return r.explanation(r.scalar("mul", c, d, "e = c * d", (6, "e = c * d")))


def network(depth=2, rows=8, width=16, seed=0):
    """The loss of a small network of linear layers and tanh, with modules."""
    rng = np.random.default_rng(seed)
    r = Recorder("loss of a network")
    x = r.leaf("x", rng.normal(size=(rows, width)))
    r.kinds["layers"] = "Sequential"
    for layer in range(depth):
        r.module = f"layers.{2 * layer}"
        r.kinds[r.module] = "Linear"
        weight = r.leaf(f"{r.module}.weight", rng.normal(size=(width, width)) / np.sqrt(width), "parameter")
        bias = r.leaf(f"{r.module}.bias", np.zeros(width), "parameter")
        X, W = r.values[x], r.values[weight]
        x = r.op("linear", [
            (x, "x", "g @ weight", None, {"shape": [[rows, width], [rows, width]], "norm": number(np.linalg.norm(W))},
             lambda g, W=W: g @ W),
            (weight, "weight", "g^T @ x", None, {"shape": [[rows, width], [width, width]],
                                                 "norm": number(np.linalg.norm(X))}, lambda g, X=X: g.T @ X),
            (bias, "bias", "sum of g over rows", None, {"shape": [[rows, width], [width]], "norm": 1.0},
             lambda g: g.sum(0)),
        ], X @ W.T + r.values[bias], f"%{len(r.nodes)} = x weight^T + bias", line=(12, "x = self.layers(x)"))
        r.module = f"layers.{2 * layer + 1}"
        r.kinds[r.module] = "Tanh"
        y = np.tanh(r.values[x])
        x = r.op("tanh", [(x, "x", "g (1 - y^2)", None, None, lambda g, y=y: g * (1 - y * y))], y,
                 f"%{len(r.nodes)} = tanh(x)", line=(12, "x = self.layers(x)"))
    r.module = ""
    target = r.leaf("target", rng.normal(size=(rows, width)), "constant")
    difference = r.values[x] - r.values[target]
    return r.explanation(r.op("mse_loss", [
        (x, "a", "2 g (a - b) / n", None, None, lambda g: 2 * g * difference / difference.size),
        (target, "b", "", None, None, None)],
        np.mean(difference ** 2), "loss = mean((a - b)^2)", line=(14, "loss = F.mse_loss(model(x), target)")))


def neurons(layers=(10, 16, 16, 16, 1), seed=0):
    """A network of scalars, as micrograd makes it: each product, each sum a node of its own."""
    rng = np.random.default_rng(seed)
    r = Recorder("a network of scalars")
    row = [r.leaf(f"x{i}", rng.normal()) for i in range(layers[0])]
    for layer, (many, width) in enumerate(zip(layers, layers[1:]), 1):
        following = []
        for unit in range(width):
            r.module = f"layer{layer}.{unit}"
            r.kinds[f"layer{layer}"], r.kinds[r.module] = "Layer", "Neuron"
            total = r.leaf(f"b{layer}_{unit}", 0.1, "parameter")
            for i, x in enumerate(row):
                w = r.leaf(f"w{layer}_{unit}_{i}", rng.normal() / np.sqrt(many), "parameter")
                product = r.scalar("mul", w, x, f"%{len(r.nodes)} = w x", (8, "total = total + w * x"))
                total = r.scalar("add", total, product, f"%{len(r.nodes)} = total + w x", (8, "total = total + w * x"))
            following.append(r.unary("tanh", total, f"%{len(r.nodes)} = tanh(total)", (9, "return tanh(total)")))
        row = following
    return r.explanation(row[0])
