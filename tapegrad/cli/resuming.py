"""``tapegrad train --checkpoint`` and ``--resume``: a run whose state is kept, and the command that goes on from it."""

from __future__ import annotations

import json
import os
import shlex
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from .. import Checkpoint
from ..errors import DataError
from ..io.checkpoint import holds_checkpoint, newest
from .settings import Settings

__all__ = ["checkpoint_of", "command_words", "go_on", "how_to_go_on", "keep_tuned", "training_command",
           "tuned_before"]

_SECONDS = 60.0
_OWN = ("checkpoint", "resume", "mpi")
#: options that may be given anew: how long to train, and what to do with the result
_FREE = ("epochs", "checkpoint_every", "save", "plot", "importance", "report", "folds", "as_json", "quiet")
_RESUMES = "tapegrad.resumes"


def command_words(context: typer.Context, *, absolute: bool = False, without: tuple[str, ...] = _OWN) -> list[str]:
    """The options and arguments of a command as they were given, in words that give the same again.

    Parameters
    ----------
    context : Context
    absolute : bool
        Write paths so that they hold in any folder.
    without : tuple of str
        Parameters to leave out.
    """
    words, arguments = [], []
    for parameter in context.command.params:
        name = str(parameter.name)
        if name in without or not _given(context, name):
            continue
        value = context.params[name]
        for one in value if isinstance(value, (list, tuple)) else [value]:
            text = os.path.abspath(one) if absolute and isinstance(one, Path) and str(one) != "-" else str(one)
            if parameter.param_type_name == "argument":
                arguments.append(text)
            elif getattr(parameter, "is_flag", False):
                words.append(parameter.opts[0] if one else parameter.secondary_opts[0])
            else:
                words += [max(parameter.opts, key=len), text]
    return [*words, "--", *arguments] if any(text.startswith("-") for text in arguments) else [*arguments, *words]


def training_command(context: typer.Context) -> str:
    """The command without what does not bear on the model."""
    words = command_words(context, without=(*_OWN, *(name for name in _FREE if name != "epochs")))
    return f"tapegrad train {shlex.join(words)}"


def _given(context: typer.Context, name: str) -> bool:
    """Whether a parameter is on the command line; typer's enumeration of sources has no public place."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def checkpoint_of(context: typer.Context, folder: Path | None, every: float | None,
                  first: bool = True) -> Checkpoint | None:
    """The checkpoint that ``--checkpoint`` asks for; of several ranks the `first` keeps it for all.

    Raises
    ------
    DataError
        The folder holds one already, which is not to be gone on from.
    """
    if folder is None:
        if every is not None:
            raise DataError("--checkpoint-every is for --checkpoint or --resume, and neither is given")
        return None
    before: dict[str, str] | None = context.meta.get(_RESUMES)
    if before is None and first and holds_checkpoint(folder):
        raise DataError(f"--checkpoint {folder}: holds a checkpoint already; --resume {shlex.quote(str(folder))} goes "
                        "on from it, or give another folder")
    signal.signal(signal.SIGTERM, _end)  # as batch systems send it before they kill
    note = {**(before or {}), "command": json.dumps(command_words(context, absolute=True))}
    return Checkpoint(folder, _SECONDS if every is None else every, resume=before is not None, note=note,
                      say=lambda text: typer.echo(f"tapegrad: {text}", err=True))


def keep_tuned(kept: Checkpoint | None, chosen: Settings) -> None:
    """Have a checkpoint know what ``--tune`` has chosen."""
    if kept is not None:
        kept.note["tuned"] = json.dumps(asdict(chosen))


def tuned_before(context: typer.Context) -> Settings | None:
    """What ``--tune`` chose when the run that goes on was begun."""
    text = context.meta.get(_RESUMES, {}).get("tuned")
    if text is None:
        return None
    lists_as_tuples: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                                       for name, value in json.loads(text).items()}  # fmt: skip
    return Settings(**lists_as_tuples)


def _end(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def go_on(context: typer.Context, folder: Path) -> None:
    """Run the command that the checkpoint in a folder is of once more, from there.

    Raises
    ------
    DataError
        There is none, it was not written by this command, or an option differs from those of then.
    """
    command: Any = context.command
    if _given(context, "checkpoint"):
        raise DataError(f"--resume {folder} goes on writing to that folder; leave --checkpoint out")
    _, note = newest(folder, lambda text: None)  # the run tells what it got over
    if "command" not in note:
        raise DataError(f"{folder}: its checkpoint is of a run in Python, which goes on by the same call of step.run "
                        f"with checkpoint=tg.Checkpoint({str(folder)!r}, resume=True)")
    before = command.make_context("train", json.loads(note["command"]), parent=context.parent)
    changed = []
    for parameter in command.params:
        name = str(parameter.name)
        if not _given(context, name) or name in _OWN:
            continue
        if name in _FREE:
            changed.append(name)
        elif _absolute(context.params[name]) != _absolute(before.params[name]):
            option, value = max(parameter.opts, key=len), before.params[name]
            then = f"with {option} {value}" if _given(before, name) else f"without {option}"
            raise DataError(f"--resume {folder}: the run was begun {then}, and goes on as it was begun; leave {option} "
                            "out")
    words = command_words(before, absolute=True, without=(*_OWN, *changed))
    new = command_words(context, absolute=True, without=tuple(str(p.name) for p in command.params
                                                              if p.name not in changed))
    context.meta[_RESUMES] = note
    ranks = ["--mpi"] if context.params["mpi"] else []
    with command.make_context("train", [*new, *ranks, "--checkpoint", str(folder), *words],
                              parent=context.parent) as again:
        command.invoke(again)


def _absolute(value: Any) -> Any:
    """A parameter's value whose paths can be compared."""
    if isinstance(value, (list, tuple)):
        return [_absolute(one) for one in value]
    return os.path.abspath(value) if isinstance(value, Path) else value


def how_to_go_on(folder: Path) -> str:
    """The command, after Ctrl-C."""
    return f"go on with: tapegrad train --resume {shlex.quote(str(folder))}"
