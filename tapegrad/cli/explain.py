"""``tapegrad explain``: a computation with its values, its local derivatives and its adjoints."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table as Report
from rich.text import Text

from ..errors import ArgumentError, DataError
from ..explain import explain as explain_function
from ..explain.explanation import Explanation
from ..explain.lectures import LECTURES, lecture
from ..nn import functional as F
from . import options
from .request import Request, with_request
from .training import Run

__all__ = ["explain"]

_TABLES = {".csv", ".tsv", ".txt", ".npz", ".gz", ".dat"}
#: as in the pictures: values and adjoints
_STYLES = ("dim", "bold", "blue", "", "green", "red")


@with_request
def explain(
    request: Request,
    data: Annotated[
        str | None,
        typer.Argument(metavar="EXPRESSION|FILE", help="An expression such as '(x + y) * z', or a file of data with "
                       "--target: then a network is trained, and a row of the data explained.", show_default=False),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", help="Values of the variables: x=2, w=1,2, W=[[1,2],[3,4]].",
                       show_default=False),
    ] = None,
    paths: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Show every path from this input with its product, and their sum."),
    ] = None,
    lecture_number: Annotated[
        int | None,
        typer.Option("--lecture", metavar="N", help=f"A worked example of the lectures, 1 to {len(LECTURES)}."),
    ] = None,
    sample: Annotated[int, typer.Option(min=0, help="With a file: the row of the training data to explain.")] = 0,
    errors: Annotated[
        bool, typer.Option("--errors", help="Show the norms of values and adjoints by layer, and what is wrong.")
    ] = False,
    stored: Annotated[bool, typer.Option("--stored", help="Show what is kept for the reverse walk, and why.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print the chain rule as LaTeX.")] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the graph (.svg, .pdf, .png; needs the viz extra).")
    ] = None,
    unfold: Annotated[bool, typer.Option("--unfold", help="Draw every instruction of a large graph.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page that steps through both walks.")
    ] = None,
    epochs: options.Epochs = None,
    lr: options.LearningRate = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show a computation: values, formulas, local derivatives and adjoints, as text, picture and page."""
    for path, option in ((plot, "--plot"), (html, "--html")):
        if path is not None:
            options.check_writable(path, option)
    if lecture_number is not None:
        if data is not None:
            raise ArgumentError("--lecture stands alone, without an expression or a file")
        chosen = lecture(lecture_number)
        heading, explanation = f"{chosen.title}: {chosen.formulas}", chosen.explain()
    elif data is None:
        raise ArgumentError("what is to be explained? Give an expression with its values, tapegrad explain "
                            "'(x + y) * z' x=-2 y=5 z=-4, a file with --target, or --lecture 1")
    elif request.target is not None or Path(data).suffix.lower() in _TABLES:
        if values:
            raise ArgumentError(f"{values[0]!r}: values are for an expression; a file is explained with --target and "
                                "--sample")
        heading, explanation = _row_of(replace(request, data=[Path(data)]), sample, epochs, lr)
    else:
        heading, explanation = "", explain_function(data, **_parsed(values or ()))
    _show(explanation, heading, paths or (), errors, stored, latex, as_json)
    if plot is not None:
        explanation.plot(plot, unfold=unfold)
    if html is not None:
        explanation.html(html)
    if not as_json:
        for path in (plot, html):
            if path is not None:
                typer.echo(f"written to {path}")


def _show(explanation: Explanation, heading: str, paths: Sequence[str], errors: bool, stored: bool, latex: bool,
          as_json: bool) -> None:
    found = [explanation.paths(input=name) for name in paths]
    if as_json:
        typer.echo(explanation.to_json(allow_nan=False))
        return
    if heading:
        typer.echo(f"{heading}\n")
    if latex:
        typer.echo(explanation.latex())
        return
    _print(explanation)
    for each in found:
        typer.echo(f"\n{each}")
    report = explanation.local_errors()
    if errors:
        typer.echo(f"\n{report}")
    else:
        for birth in report.births:
            typer.echo(f"\nnote: {birth}")
    if stored:
        typer.echo(f"\n{explanation.stored()}")


def _print(explanation: Explanation) -> None:
    """The table, in colours on a terminal."""
    console = Console()
    if not console.is_terminal:
        typer.echo(str(explanation))
        return
    head, *body = explanation.rows()
    table = Report(box=None, header_style="bold", pad_edge=False)
    are_scalars = all(node.is_scalar for node in explanation.nodes)
    for k, (name, style) in enumerate(zip(head, _STYLES)):
        table.add_column(name, style=style, justify="right" if are_scalars and k in (2, 5) else "left")
    for row in body:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _parsed(values: Sequence[str]) -> dict[str, Any]:
    """``["x=2", "w=1,2"]`` as numbers."""
    found: dict[str, Any] = {}
    for text in values:
        name, sign, value = text.partition("=")
        if not sign or not name.strip().isidentifier():
            raise ArgumentError(f"{text!r}: a value is given as NAME=VALUE, such as x=2 or w=1,2")
        if name.strip() in found:
            raise ArgumentError(f"{name.strip()} is given twice")
        try:
            found[name.strip()] = _numbers(ast.literal_eval(value.strip()))
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            if value.strip().lower() not in ("nan", "inf", "-inf"):
                raise ArgumentError(f"{text!r}: the value is to be a number, or numbers: x=2, w=1,2, "
                                    "W=[[1,2],[3,4]]") from None
            found[name.strip()] = np.float64(value.strip())
    return found


def _numbers(value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "if" or array.dtype == object:
        raise TypeError("numbers")
    return array.astype(np.float64)


def _row_of(request: Request, sample: int, epochs: int | None, lr: float | None) -> tuple[str, Explanation]:
    """A row of the training data, through the network that was trained on them."""
    problem = request.problem()
    if sample >= len(problem.inputs):
        raise DataError(f"--sample {sample}: there are {len(problem.inputs)} rows of training data, from 0 on")
    run = Run(problem, request.settings(problem, lr, epochs, members=1))
    run.train(progress=True)
    module, dtype = run.module.eval(), np.dtype(run.settings.dtype)
    is_classes = problem.target.task == "classification"
    loss = F.cross_entropy if is_classes else F.mse_loss
    x, y = problem.inputs[sample:sample + 1].astype(dtype), problem.targets[sample:sample + 1]
    y = y if is_classes else y.astype(dtype)

    def row(x: Any) -> Any:
        output = module(x)
        L = loss(output, y)
        return L

    explanation = explain_function(row, x)
    explanation.title = f"row {sample} of {problem.title}"
    return f"{explanation.title}, after {run.epochs_done} epochs", explanation
