"""The README's blocks and the docstrings' examples run, and print what they say.

A section of the README (from one ``##`` heading to the next) is one program: its Python blocks run in order in one
namespace, where there is the module that a block says it needs (``python needs=sklearn.datasets``). A ``text`` block
that follows a Python block is what that block prints. The ``sh`` lines that begin with ``tapegrad`` run in a folder
with a table of house prices, and with the ``toml`` block as ``sweep.toml``.

``python tests/test_examples.py`` writes what the blocks print now into the README.
"""

import contextlib
import doctest
import importlib
import io
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tapegrad
from tapegrad.engine.language import enabled

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(r"^```(\w+)(?: needs=[\w.]+)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"^```python needs=([\w.]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections():
    """Heading and (line, language, content) of the blocks of each section that has any."""
    text = README.read_text(encoding="utf-8")
    starts = [m.start() for m in re.finditer(r"^#+ ", BLOCK.sub(lambda m: "x" * len(m[0]), text), re.MULTILINE)]
    for start, end in zip(starts, [*starts[1:], len(text)]):
        heading = text[start:end].splitlines()[0].lstrip("# ")
        blocks = [(text.count("\n", 0, start + m.start(2)) + 1, m[1], m[2]) for m in BLOCK.finditer(text[start:end])]
        if blocks:
            yield heading, blocks


SECTIONS = dict(sections())
#: of Python blocks, the library that they need beside those of the README's first command
NEEDED = {content: library for library, content in NEEDS.findall(README.read_text(encoding="utf-8"))}


def printed_by(blocks):
    """Line of each ``text`` block that follows a Python block, what it says, and what that block prints."""
    namespace, printed = {"__name__": "__main__"}, None
    for line, language, content in blocks:
        if language == "python":
            if content in NEEDED:
                pytest.importorskip(NEEDED[content])
            # blank lines before it, so that a traceback gives the README's line
            code = compile("\n" * (line - 1) + content, str(README), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(code, namespace)
            printed = "\n".join(row.rstrip() for row in output.getvalue().rstrip().splitlines()) + "\n"
        elif language == "text":
            yield line, content, printed


@pytest.mark.parametrize("heading", [h for h, blocks in SECTIONS.items() if any(b[1] == "python" for b in blocks)])
def test_python_blocks_of_the_readme_run_and_print_what_they_say(heading):
    for line, said, printed in printed_by(SECTIONS[heading]):
        assert printed == said, f"README.md, line {line}"


COMMANDS = [line for blocks in SECTIONS.values() for _, language, content in blocks if language == "sh"
            for line in content.splitlines() if line.startswith("tapegrad ")]


@pytest.mark.skipif(not enabled(), reason="training takes minutes with the JIT disabled")
def test_commands_of_the_readme_run(tmp_path):
    pytest.importorskip("typer")
    pytest.importorskip("safetensors")
    rng = np.random.default_rng(0)
    rooms, age = rng.integers(1, 8, 200), rng.uniform(0, 90, 200)
    price = 50 + 30 * rooms - age + rng.normal(0, 5, 200)
    town = np.array(["north", "south"])[rng.integers(0, 2, 200)]
    rows = [f"{r},{a:.1f},{t},{p:.2f}" for r, a, t, p in zip(rooms, age, town, price)]
    (tmp_path / "data.csv").write_text("\n".join(["rooms,age,town,price", *rows]) + "\n")
    (settings,) = [content for blocks in SECTIONS.values() for _, language, content in blocks if language == "toml"]
    (tmp_path / "sweep.toml").write_text(settings)
    env = {**os.environ, "PYTHONPATH": str(Path(tapegrad.__file__).resolve().parent.parent)}
    assert COMMANDS
    for command in COMMANDS:
        done = subprocess.run([sys.executable, "-m", "tapegrad", *shlex.split(command)[1:]], cwd=tmp_path, env=env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    predicted = (tmp_path / "out.csv").read_text().splitlines()
    assert predicted[0] == "prediction" and len(predicted) == 201
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 1 + 2 * 4 * 2


def modules():
    """Names of the package's modules, without those that would run something when imported."""
    found = pkgutil.walk_packages(tapegrad.__path__, "tapegrad.")
    return ["tapegrad", *(module.name for module in found if not module.name.endswith("__main__"))]


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings_print_what_they_say(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"needs an extra: {error}")
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(example, out=report.write)
    assert runner.failures == 0, report.getvalue()


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    for blocks in SECTIONS.values():
        for _, said, printed in printed_by(blocks):
            text = text.replace(f"```text\n{said}```", f"```text\n{printed}```")
    README.write_text(text, encoding="utf-8")
