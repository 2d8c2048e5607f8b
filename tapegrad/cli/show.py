"""``tapegrad show``: a model file's card."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..data import listed
from ..data.kinds import Number
from .evaluation.comparison import WORDS, shown
from .network import SavedModel

__all__ = ["show"]

_GAPS = {"error": "filled in", "mean": "the column's mean", "median": "the column's median",
         "indicator": "the column's mean, and told where"}  # fmt: skip


def show(
    model: Annotated[Path, typer.Argument(help="A file from tapegrad train --save.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show what a model file holds: what it predicts from which columns, how well, and how it was trained."""
    saved = SavedModel.load(model)
    if as_json:
        typer.echo(json.dumps(_as_json(saved), allow_nan=False))
        return
    console = Console()
    facts = Table(title=Text(str(model)), title_justify="left", show_header=False, min_width=48)
    facts.add_column()
    facts.add_column(overflow="fold")
    for words, value in _facts(saved):
        facts.add_row(words, Text(value))
    console.print(facts)
    columns = Table(title="columns", title_justify="left")
    for head, justify in (("column", "left"), ("kind", "left"), ("mean", "right"), ("deviation", "right")):
        columns.add_column(head, justify="right" if justify == "right" else "left")
    for row in _columns(saved):
        number = row["mean"] is not None
        columns.add_row(Text(row["column"]), Text(row["kind"]), f"{row['mean']:.6g}" if number else "",
                        f"{row['deviation']:.6g}" if number else "")  # fmt: skip
    console.print(columns)
    if saved.left_out:
        console.print(f"not read: {listed(saved.left_out)}", markup=False, highlight=False)


def _facts(saved: SavedModel) -> list[tuple[str, str]]:
    target, network, card = saved.target, saved.network, saved.card
    what = f"one of {len(target.labels)} classes: {listed(target.labels)}" if target.labels else "a value"
    layers = [str(network.inputs), *(f"{units} {network.activation}" for units in network.hidden), str(network.outputs)]
    facts = [("predicts", f"{target.name}, {what}"),
             ("network", f"{' - '.join(layers)}, {network.dtype}, {saved.module.num_parameters():,} parameters"),
             ("missing values", _GAPS[saved.features.missing] if saved.fill_missing else "refused")]  # fmt: skip
    if not card:
        return [*facts, ("trained by", "a version of tapegrad that kept no more")]
    rows = "test" if card["held_out"] else "training"
    facts += [(f"{rows} {WORDS.get(name, name)}", shown(name, value if value is not None else math.nan))
              for name, value in card["scores"].items()]
    facts += [("rows trained on / held out", f"{card['rows']:,} / {card['rows_held_out']:,}"),
              ("training", f"{card['epochs']:,} epochs, {card['steps']:,} steps"),
              ("trained by", f"tapegrad {card['version']}"), ("command", card["command"])]  # fmt: skip
    return facts


def _columns(saved: SavedModel) -> list[dict[str, Any]]:
    """What is known of each column; the mean and the deviation of a column of numbers."""
    features, rows = saved.features, []
    spans = features.spans
    for name, kind in features.kinds.items():
        first = spans[name].start
        words = kind.words if kind.categories is None else f"category: {listed(kind.categories)}"
        mean, scale = (float(values[first]) if isinstance(kind, Number) else None
                       for values in (features.mean, features.scale))  # fmt: skip
        rows.append({"column": name, "kind": words, "mean": mean, "deviation": scale, "categories": kind.categories})
    return rows


def _as_json(saved: SavedModel) -> dict[str, Any]:
    target, network = saved.target, saved.network
    return {"target": target.name, "task": target.task, "labels": target.labels, "columns": _columns(saved),
            "not_read": saved.left_out, "fills_missing": saved.fill_missing,
            "network": {"inputs": network.inputs, "hidden": list(network.hidden), "outputs": network.outputs,
                        "activation": network.activation, "dtype": network.dtype,
                        "parameters": saved.module.num_parameters()},
            **saved.card}  # fmt: skip
