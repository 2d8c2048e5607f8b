"""The `repr` of modules: PyTorch's nested form, with parameter counts."""

from __future__ import annotations

from collections.abc import Callable

from .protocols import Tree

__all__ = ["describe"]


def describe(module: Tree, ours: Callable) -> str:
    """The module's tree, one line a layer, each with its number of parameters, and a line for the total.

    A module with a ``__repr__`` other than `ours` writes its own lines.
    """
    lines = _lines(module, ours)
    if len(lines) > 1 and module.num_parameters():
        lines[-1] = ")"
        lines.append("# total: " + _count(module))
    return "\n".join(lines)


def _lines(module: Tree, ours: Callable) -> list[str]:
    name, extra = type(module).__name__, module.extra_repr()
    count = "  # " + _count(module) if module.num_parameters() else ""
    # every registered name is shown, so a shared module under each of its names
    children = [(n, m) for n, m in module._modules.items() if m is not None]
    if not children:
        head, *rest = extra.split("\n")
        return [f"{name}({head})" + count] if not rest else [f"{name}(", *_indented(head, *rest), ")" + count]
    lines = [f"{name}("]
    if extra:
        lines += _indented(*extra.split("\n"))
    for label, child_lines in _grouped(
        [(n, _lines(m, ours) if type(m).__repr__ is ours else repr(m).split("\n")) for n, m in children],
        collapse=module._collapses_equal_children,
    ):
        lines += _indented(f"({label}): {child_lines[0]}", *child_lines[1:])
    return [*lines, ")" + count]


def _grouped(children: list[tuple[str, list[str]]], collapse: bool) -> list[tuple[str, list[str]]]:
    """Children with their lines; runs of equal ones become one ``(0-3): 4 x Layer(...)``."""
    if not collapse:
        return children
    runs: list[tuple[list[str], list[str]]] = []
    for name, lines in children:
        if runs and runs[-1][1] == lines:
            runs[-1][0].append(name)
        else:
            runs.append(([name], lines))
    return [
        (names[0], lines)
        if len(names) == 1
        else (f"{names[0]}-{names[-1]}", _each([f"{len(names)} x {lines[0]}", *lines[1:]]))
        for names, lines in runs
    ]


def _each(lines: list[str]) -> list[str]:
    return [*lines[:-1], lines[-1] + " each"] if "  # " in lines[-1] else lines


def _indented(*lines: str) -> list[str]:
    return ["  " + line for line in lines]


def _count(module: Tree) -> str:
    total, trainable = module.num_parameters(), module.num_parameters(trainable_only=True)
    text = f"{total:,} parameter{'s' if total != 1 else ''}"
    if trainable == total:
        return text
    return f"{text}, {trainable:,} trainable" if trainable else f"{text}, frozen"
