"""What a picture of an explanation consists of: boxes, lines between them, and frames around modules."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

INK, FAINT, PALE = "#222222", "#777777", "#dddddd"
VALUE, ADJOINT, DERIVATIVE = "#3b4a6b", "#d1495b", "#4f7a54"
#: by kind, what a box is filled with
FILLS = {"input": "#eef1f7", "parameter": "#fbf1dc", "constant": "#f1f1f1", "op": "#ffffff", "fold": "#eef3ee"}
#: how deep frames are filled
FRAMES = ("#fafaf7", "#f4f4ee", "#eeeee6")

#: boxes of a picture that is not unfolded; of a stretch of more outside of modules, those at either end
MOST_BOXES, _ENDS = 60, 8
_LONGEST, _FEW = 26, 3  # characters of a label; elements that are written
_SYMBOLS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "negative": "−·", "matmul": "@",
            "sigmoid": "σ", "power": "^", "power_constant": "^", "sum": "Σ", "reciprocal": "1/·"}


@dataclass
class Box:
    """A node, or several that are folded into one.

    Attributes
    ----------
    key : int
    kind : str
        That of the node, or ``"fold"``.
    label, detail : str
    value, adjoint : dict or None
        As `Explanation.to_dict` has them.
    module : tuple of str
        The paths of the frames around it, from the outermost on.
    """

    key: int
    kind: str
    label: str
    detail: str
    value: Mapping[str, Any] | None
    adjoint: Mapping[str, Any] | None
    module: tuple[str, ...] = ()

    @property
    def is_scalar(self) -> bool:
        """Whether numbers stand above and below it rather than figures inside."""
        return self.kind != "fold" and all(q is None or q.get("number") is not None for q in (self.value, self.adjoint))


@dataclass
class Line:
    """From a box to another that reads it; `label` is the local derivative."""

    source: int
    target: int
    label: str
    wanted: bool


@dataclass
class Sketch:
    """A picture before it is laid out; boxes are in the order of computation."""

    title: str
    boxes: list[Box]
    lines: list[Line]
    kinds: dict[str, str] = field(default_factory=dict)  # of modules, by path

    @property
    def is_scalar(self) -> bool:
        """Whether there are numbers only: then it is drawn from left to right."""
        return all(q is None or q.get("number") is not None for box in self.boxes for q in (box.value, box.adjoint))

    def below(self) -> list[tuple[int, int]]:
        """Pairs of boxes of which the second, a leaf, is to stand below the first, so that frames do not overlap.

        It is read together with the first, but within another frame.
        """
        boxes = {box.key: box for box in self.boxes}
        leaves = {box.key for box in self.boxes if box.kind in ("parameter", "constant") and box.module}
        read: dict[int, list[int]] = {}
        for line in self.lines:
            read.setdefault(line.target, []).append(line.source)
        return [(other, leaf) for sources in read.values() for leaf in sources if leaf in leaves for other in sources
                if other not in leaves and boxes[other].module[:len(boxes[leaf].module)] != boxes[leaf].module]

    def frame(self, path: str) -> str:
        """The title of a module's frame."""
        kind = self.kinds.get(path, "")
        return path if kind in ("", path) else f"{path}  {kind}"


def sketch(explanation: Mapping[str, Any], unfold: bool) -> Sketch:
    """What is drawn of an explanation.

    Parameters
    ----------
    explanation : mapping
        As `Explanation.to_dict` gives it.
    unfold : bool
        Whether every node has a box of its own. Else, of more than `MOST_BOXES`, those of a module are folded into one,
        at the greatest depth that is not too much, and long stretches outside of modules too.
    """
    nodes = {node["id"]: node for node in explanation["nodes"]}
    ops = [nodes[k] for k in explanation["forward"]]
    kinds = {module["path"]: module["kind"] for module in explanation.get("modules", ())}
    modules = _modules_of(nodes, explanation["edges"], kinds)
    folds: dict[int, int] = {}
    if not unfold and len(nodes) > MOST_BOXES:
        folds = _folded(nodes, ops, modules, explanation["edges"])
    boxes = _boxes(explanation, nodes, modules, folds)
    lines: dict[tuple[int, int], Line] = {}
    for edge in explanation["edges"]:
        source, target = (folds.get(edge[end], edge[end]) for end in ("source", "target"))
        if source == target:
            continue
        line = lines.get((source, target))
        label = "" if {edge["source"], edge["target"]} & folds.keys() else _derivative(edge)
        if line is None:
            lines[source, target] = Line(source, target, label, edge["wanted"])
        else:
            line.label = f"{line.label} + {label}" if line.label and label else line.label or label
            line.wanted |= edge["wanted"]
    title = explanation["title"]
    return Sketch("" if title == "<lambda>" else title, boxes, list(lines.values()), kinds)


def _modules_of(nodes: Mapping[int, Any], edges: Sequence[Any], kinds: Mapping[str, str]) -> dict[int, tuple[str, ...]]:
    """By node, its modules' paths from the outermost on; a leaf that one module alone reads is in that."""
    readers: dict[int, set[str]] = {}
    for edge in edges:
        readers.setdefault(edge["source"], set()).add(nodes[edge["target"]]["module"])
    found = {}
    for k, node in nodes.items():
        path = node["module"]
        if node["kind"] in ("parameter", "constant") and len(readers.get(k, ())) == 1:
            path = next(iter(readers[k]))
        found[k] = _ancestors(path, kinds)
    return found


def _ancestors(path: str, kinds: Mapping[str, str]) -> tuple[str, ...]:
    """The paths of a module and of those that hold it; lists of modules hold nothing of their own."""
    parts = path.split(".") if path else []
    paths = [".".join(parts[:k + 1]) for k in range(len(parts))]
    return tuple(p for p in paths if kinds.get(p) not in ("ModuleList", "ModuleDict"))


def _folded(nodes: Mapping[int, Any], ops: Sequence[Any], modules: Mapping[int, tuple[str, ...]],
            edges: Sequence[Any]) -> dict[int, int]:
    """By node that is folded, the one that stands for all: the last of its group."""
    deepest = max([len(modules[node["id"]]) for node in ops], default=0)
    folds: dict[int, int] = {}
    for depth in range(deepest, 0, -1):
        folds = _groups(ops, modules, edges, depth)
        if len(nodes) - sum(k != v for k, v in folds.items()) <= MOST_BOXES:
            return folds
    stand = [node["id"] for node in ops if folds.get(node["id"], node["id"]) == node["id"]]
    if len(stand) > MOST_BOXES:  # what is in the middle
        middle = dict.fromkeys(stand[_ENDS:-_ENDS], stand[-_ENDS - 1])
        folds = {k: middle.get(v, v) for k, v in folds.items()} | middle
        folds |= _leaves_within(edges, {node["id"] for node in ops}, folds)
    return folds


def _groups(ops: Sequence[Any], modules: Mapping[int, tuple[str, ...]], edges: Sequence[Any],
            depth: int) -> dict[int, int]:
    """Fold modules of this depth, and those above it that hold no others, with the leaves that they alone read.

    Consecutive instructions of one module are a group, so that no group is read by what it reads.
    """
    holders = {path[:k] for path in modules.values() for k in range(len(path))}
    folds: dict[int, int] = {}
    paths = [modules[node["id"]][:depth] for node in ops]
    begin = 0
    for k in range(1, len(ops) + 1):
        if k == len(ops) or paths[k] != paths[begin]:
            if len(paths[begin]) == depth or paths[begin] not in holders:
                folds.update(dict.fromkeys([node["id"] for node in ops[begin:k]], ops[k - 1]["id"]))
            begin = k
    folds |= _leaves_within(edges, {node["id"] for node in ops}, folds)
    sizes = Counter(folds.values())
    return {k: v for k, v in folds.items() if sizes[v] > 1}


def _leaves_within(edges: Sequence[Any], ops: Set[int], folds: Mapping[int, int]) -> dict[int, int]:
    """Leaves that are read within one fold only."""
    readers: dict[int, set[int | None]] = {}
    for edge in edges:
        if edge["source"] not in ops:
            readers.setdefault(edge["source"], set()).add(folds.get(edge["target"]))
    found = {k: next(iter(read)) for k, read in readers.items() if len(read) == 1}
    return {k: stand for k, stand in found.items() if stand is not None}


def _boxes(explanation: Mapping[str, Any], nodes: Mapping[int, Any], modules: Mapping[int, tuple[str, ...]],
           folds: Mapping[int, int]) -> list[Box]:
    order = [k for k in nodes if k not in set(explanation["forward"])] + list(explanation["forward"])
    counts = Counter(folds[k] for k in explanation["forward"] if k in folds)
    parameters = Counter(folds[k] for k, node in nodes.items() if k in folds and node["kind"] == "parameter")
    common: dict[int, tuple[str, ...]] = {}
    for k, stand in folds.items():
        if nodes[k]["kind"] == "op":
            path = common.get(stand, modules[k])
            common[stand] = tuple(a for a, b in zip(path, modules[k]) if a == b)
    boxes = []
    for k in order:
        node = nodes[k]
        if k not in folds:
            boxes.append(Box(k, node["kind"], _label(node), _shape(node), node["value"], node["adjoint"], modules[k]))
        elif folds[k] == k:
            path = common[k]
            kinds = {module["path"]: module["kind"] for module in explanation.get("modules", ())}
            kind = kinds.get(path[-1], "") if path else ""
            label = f"{path[-1]}  {kind}".strip() if path else "…"
            inside = [f"{n} {what}{'s' if n > 1 else ''}" for n, what in ((counts[k], "instruction"),
                                                                          (parameters[k], "parameter")) if n]
            boxes.append(Box(k, "fold", label, ", ".join(inside) + (f"  →  {_shape(node)}" if node["shape"] else ""),
                             node["value"], node["adjoint"], path[:-1]))
    return boxes


def _label(node: Mapping[str, Any]) -> str:
    """A leaf's name; an instruction's formula, or its op where the formula is long or its result has no name."""
    name = node["name"]
    if node["kind"] != "op":
        return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST:]}"
    formula = node["formula"]
    if not name.startswith("%") and len(formula) <= _LONGEST and not node["shape"] and "%" not in formula:
        return formula
    op = _SYMBOLS.get(node["op"], node["op"])
    return op if name.startswith("%") else f"{name} = {op}"


def _shape(node: Mapping[str, Any]) -> str:
    shape = node["shape"]
    return " × ".join(map(str, shape)) if shape else ""


def _derivative(edge: Mapping[str, Any]) -> str:
    if edge["derivative"] is not None:
        return number(edge["derivative"])
    norm = (edge["jacobian"] or {}).get("norm")
    return "" if norm is None else f"‖J‖ {number(norm)}"


def number(value: float | str | None) -> str:
    """A number as it is drawn, which JSON may lack."""
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.4g}"


def figure(quantity: Mapping[str, Any] | None) -> str:
    """The number, or a few; else the norm and what is wrong with it."""
    if quantity is None:
        return ""
    if quantity.get("number") is not None:
        return number(quantity["number"])
    elements: Any = quantity.get("elements")
    if _is_short(elements):
        return f"[{', '.join(map(number, elements))}]"
    words = (("nan", "NaN"), ("infinite", "infinite"))
    wrong = [f"{quantity[what]} {word}" for what, word in words if quantity.get(what)]
    return ", ".join([f"‖·‖ {number(quantity.get('norm'))}", *wrong])


def _is_short(elements: Any) -> bool:
    """Whether all elements are written: those of a vector of a few."""
    return isinstance(elements, list) and len(elements) <= _FEW and not any(isinstance(v, list) for v in elements)


def bars(quantity: Mapping[str, Any] | None) -> list[float]:
    """Heights of the bars of the histogram between 0 and 1; none if there is no histogram.

    >>> bars({"histogram": {"counts": [1, 4, 0], "low": 0.0, "high": 1.0}})
    [0.25, 1.0, 0.0]
    """
    histogram = None if quantity is None or _is_short(quantity.get("elements")) else quantity.get("histogram")
    if not histogram or not max(histogram["counts"], default=0):
        return []
    top = max(histogram["counts"])
    return [count / top for count in histogram["counts"]]


def sparkline(heights: Sequence[float]) -> str:
    """The bars as characters.

    >>> sparkline([0.0, 0.1, 0.5, 1.0])
    ' ▁▄█'
    """
    return "".join(" ▁▂▃▄▅▆▇█"[math.ceil(8 * height)] for height in heights)
