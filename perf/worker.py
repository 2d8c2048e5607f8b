"""A process that prepares works and runs them when it is told to; compare.py has one for each library.

It reads questions from standard input, a line of JSON each, and answers likewise. Between questions it waits, so that
the libraries take turns on the same machine without sharing a process, their threads or their memory.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report

HERE = Path(__file__).resolve().parent


@dataclass
class Way:
    """A work made ready: what its first steps gave, and how to make more."""

    losses: list[float]  # of the first steps, on the first batch
    gradients: dict[str, Any]  # of the first of them, arrays by name
    run: Callable[[int], Any]  # makes so many steps, a multiple of `every`
    every: int = 1
    first: float | None = None  # seconds of the first call, where it says


CHECKED_STEPS = 5


def load_works() -> Any:
    """tapegrad/cli/works.py by its path, for the package may be missing here."""
    if "works" not in sys.modules:
        spec = importlib.util.spec_from_file_location("works", HERE.parent / "tapegrad" / "cli" / "works.py")
        assert spec is not None and spec.loader is not None
        sys.modules["works"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["works"])
    return sys.modules["works"]


class Worker:
    """The other end: a process of `python` for the library `library`."""

    def __init__(self, python: str, library: str, threads: int, quick: bool) -> None:
        command = [python, str(Path(__file__).resolve()), library, str(threads), str(int(quick))]
        self.library = library
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        answer = self._ask({"what": "begin"})
        self.missing, self.version = answer.get("missing"), answer.get("version")
        self.ways: dict[str, list[str]] = answer.get("ways", {})
        self.first_calls: dict[tuple[str, str], float] = {}

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            sys.exit(f"the process of {self.library} ended (exit status {self._process.wait()}); its message is above")
        return json.loads(answer)

    def prepare(self, work: str, way: str) -> tuple[list[float], dict[str, Any], int]:
        """Make a work ready over there: first losses, first gradients, what steps come in multiples of.

        Raises `RuntimeError` with the library's message where it cannot.
        """
        import numpy as np

        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "gradients.npz")
            answer = self._ask({"what": "prepare", "work": work, "way": way, "file": file})
            if "failed" in answer:
                raise RuntimeError(answer["failed"])
            if answer["first"] is not None:
                self.first_calls[work, way] = answer["first"]
            with np.load(file) as arrays:
                return answer["losses"], dict(arrays), answer["every"]

    def seconds(self, work: str, way: str, steps: int) -> float:
        """Seconds that `steps` steps take there."""
        return self._ask({"what": "run", "work": work, "way": way, "steps": steps})

    def forget(self, work: str) -> None:
        """Let go of a work."""
        self._ask({"what": "forget", "work": work})

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(library: str, threads: int, quick: bool) -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    ways: dict[tuple[str, str], Way] = {}
    module: Any = None
    works: Any = None
    for line in sys.stdin:
        question = json.loads(line)
        what, name, way = question["what"], question.get("work"), question.get("way")
        answer: Any = None
        if what == "begin":
            try:
                module = importlib.import_module(library)
                version, works = module.begin(threads), module.works
            except ImportError as error:
                answer = {"missing": str(error)}
            else:
                able = {n: [w for w, (fits, _) in module.WAYS.items() if fits(work)] for n, work in works.WORKS.items()}
                answer = {"version": version, "ways": able}
        elif what == "prepare":
            import numpy as np

            try:
                made = ways[name, way] = module.WAYS[way][1](works.adjusted(works.WORKS[name], quick))
            except Exception as error:  # whatever a library raises; the others can still be compared
                answer = {"failed": f"{type(error).__name__}: {error}"}
            else:
                np.savez(question["file"], **made.gradients)
                answer = {"losses": [float(v) for v in made.losses], "every": made.every,
                          "first": made.first}
        elif what == "run":
            run = ways[name, way].run
            began = time.perf_counter()
            run(question["steps"])
            answer = time.perf_counter() - began
        else:
            for key in [key for key in ways if key[0] == name]:
                del ways[key]
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    report.set_threads(int(sys.argv[2]))
    if hasattr(os, "sched_setaffinity"):  # XLA has a thread for each processor that it may use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(sys.argv[2])])
    sys.modules["worker"] = sys.modules["__main__"]
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1")
