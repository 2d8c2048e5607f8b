"""``tapegrad example``: whole models to run and to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as Report

from ..engine.kernels import compile_seconds
from ..errors import ArgumentError, MissingExtraError
from ..examples import EXAMPLES, Outcome
from ..examples import example as module_of
from . import options

__all__ = ["example"]

_PICTURES = (".png", ".svg", ".pdf")


def example(
    name: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(EXAMPLES)}; without it they are listed.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="How long to train; by default until the result is good.")
    ] = None,
    seed: options.Seed = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The picture (.png, .svg, .pdf): NAME.png.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar and no table.")] = False,
) -> None:
    """Run a whole model: train it, measure it, draw it. Its source is short, and meant to be read."""
    if name is None:
        _list()
        return
    if name not in EXAMPLES:
        raise ArgumentError(f"no example is called {name!r}; there are {', '.join(EXAMPLES)}")
    path = Path(f"{name}.png") if out is None else out
    drawn = _can_draw(out)
    if path.suffix.lower() not in _PICTURES:
        raise ArgumentError(f"--out {path}: a picture ends in {', '.join(_PICTURES)}")
    options.check_writable(path, "--out")
    module = module_of(name)
    compiled = compile_seconds()
    outcome: Outcome = module.run(epochs=EXAMPLES[name][1] if epochs is None else epochs, seed=seed,
                                  progress=not (quiet or as_json))
    compiled = compile_seconds() - compiled
    outcome.numbers["compile_seconds"] = compiled
    if compiled > 0.1:
        outcome.rows.append(("... of it compiling, once on a machine", f"{compiled:.0f} s"))
    if drawn:
        outcome.save_picture(path)
    if as_json:
        typer.echo(json.dumps({"example": name, **outcome.numbers, "picture": str(path) if drawn else None}))
    elif not quiet:
        _print(outcome, path if drawn else None, module.__file__)


def _can_draw(out: Path | None) -> bool:
    """Whether matplotlib is installed; an error if it is not and a picture was asked for."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        if out is not None:
            raise MissingExtraError("--out needs matplotlib: pip install 'tapegrad[viz]'") from None
        return False
    return True


def _list() -> None:
    report = Report(box=None, header_style="bold")
    report.add_column("example")
    report.add_column("what it shows")
    report.add_column("epochs", justify="right")
    for name, (shows, epochs) in EXAMPLES.items():
        report.add_row(name, shows, str(epochs))
    Console().print(report)


def _print(outcome: Outcome, picture: Path | None, source: str) -> None:
    console = Console()
    if outcome.text:
        console.print(outcome.text, markup=False, highlight=False)
        console.print()
    report = Report(title=outcome.title, title_justify="left", show_header=False)
    report.add_column()
    report.add_column(justify="right")
    for row in outcome.rows:
        report.add_row(*row)
    console.print(report)
    drawn = f"picture: {picture}" if picture else "no picture: it needs pip install 'tapegrad[viz]'"
    console.print(f"{drawn}\nsource:  {source}", markup=False, highlight=False, soft_wrap=True)
