"""A progress bar over steps or runs, or none."""

from __future__ import annotations

from typing import Any

from ...errors import MissingExtraError


class NoBar:
    """The interface of progress bars, and the bar that shows nothing."""

    def __enter__(self) -> NoBar:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def advance(self, steps: int) -> None:
        """Some steps are done."""

    def describe(self, text: str) -> None:
        """What is shown beside the bar from now on."""


class RichBar(NoBar):
    """A progress bar on the terminal."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                                  TimeRemainingColumn(), console=Console(stderr=True))
        self._task = self._progress.add_task("training", total=total)

    def __enter__(self) -> RichBar:
        self._progress.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.stop()

    def advance(self, steps: int) -> None:
        self._progress.advance(self._task, steps)

    def describe(self, text: str) -> None:
        self._progress.update(self._task, description=text)


def progress_bar(shown: bool, total: int) -> NoBar:
    """A progress bar of `total` steps, as a context manager."""
    if not shown:
        return NoBar()
    try:
        return RichBar(total)
    except ImportError:
        raise MissingExtraError("progress=True needs the rich package: pip install 'tapegrad[cli]'") from None
