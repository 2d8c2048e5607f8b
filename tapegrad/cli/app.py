"""The command group and its error handling: one line on standard error, never a traceback for bad input."""

from __future__ import annotations

import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from .. import __version__
from ..errors import ExpressionError, TapegradError
from .bench import bench
from .example import example
from .explain import explain
from .options import UsageError
from .predict import predict
from .profile import profile
from .ranks import end_job, wait_for_first
from .show import show
from .sweep import sweep
from .train import train

__all__ = ["app"]


class _Commands(TyperGroup):
    """A group of commands with one-line errors."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run a command and exit."""
        try:
            status = super().main(*args, **{**options, "standalone_mode": False})
        except UsageError as error:
            _fail(error.format_message(), 2)
        except ExpressionError as error:
            _fail(error.reason, 2, error.place)
        except TapegradError as error:
            _fail(str(error), 2)
        except MemoryError as error:
            _fail(f"not enough memory ({error})", 1)
        except BrokenPipeError:
            sys.exit(1)
        except OSError as error:
            where = "" if error.filename is None else f"{error.filename}: "
            _fail(f"{where}{error.strerror or error}", 2)
        except (KeyboardInterrupt, typer.Abort):
            _fail("interrupted", 130)
        status = status if isinstance(status, int) else 0
        end_job(status)
        sys.exit(status)


def _fail(message: str, status: int, place: str = "") -> NoReturn:
    wait_for_first()
    typer.echo(f"tapegrad: {' '.join(message.split())}", err=True)
    if place:
        typer.echo(place, err=True)
    end_job(status)
    sys.exit(status)


app = typer.Typer(
    cls=_Commands,
    help="Train small networks on the CPU, with every byte planned and nothing recompiled.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"tapegrad {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command()(train)
app.command()(sweep)
app.command()(predict)
app.command()(show)
app.command()(profile)
app.command()(example)
app.command()(explain)
app.command()(bench)
