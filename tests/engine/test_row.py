"""Rows declared by names: what is written by a name is read by it, in machine code and as plain Python."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import tapegrad
from tapegrad.engine.kernels import Kernel
from tapegrad.engine.language import bits, device, frame, word_of, words_at
from tapegrad.engine.row import (
    At,
    Aux,
    Input,
    Layout,
    Nest,
    Output,
    Part,
    Row,
    Words,
    absent,
    contiguous,
    declared,
    double,
    resolved,
    resolved_source,
)
from tapegrad.engine.storage import address_of


class Dice(Words):
    scale: float
    threshold: int


class Widths(Words, count=3):
    pass


class Looped(Row):
    y: Output
    x0: Input
    x1: Input
    n: int
    widths: Widths
    last: int


class Scaled(Row):
    y: Output
    x: Input = contiguous
    shift: Input = contiguous | absent
    kept: Aux
    factor: float
    exact: double
    n: int
    flag: bool
    dice: Dice
    nest: Nest = Nest.over("x")


@device
def thrown(op, at: At[Dice], f):
    return at.scale if at.threshold == 7 else at.scale * 0.0


@device
def scaled_element(op: Scaled, f, k):
    return op.factor * f[op.x + k] + thrown(op, op.dice, f)


def scaled(op: Scaled, f, i, b):
    for k in range(op.n):
        f[op.y + k] = scaled_element(op, f, k)
        if op.stores.x:
            f[op.d.x + k] = op.exact
        else:
            f[op.d.x + k] += f[op.g + k]
    i[op.kept] = op.nest.rows * 100 + op.nest.columns * 10 + op.nest
    return 0


def scaled_part(part: Part, f, i, b):
    op: Scaled = words_at(part.row)
    op.n = part.number * 10 + part.count
    return 0


SCALED, SCALED_PART = Kernel("test.scaled", scaled), Kernel("test.scaled_part", scaled_part)


def test_words_lie_in_the_order_of_the_declaration():
    assert Scaled.operands == ("y", "x", "shift", "kept")
    assert Scaled.inputs == ("x", "shift")
    assert Scaled.layouts == {"y": Layout(0), "x": Layout.CONTIGUOUS, "shift": Layout.CONTIGUOUS | Layout.ABSENT,
                              "kept": Layout(0)}
    assert Scaled.nests == {"nest": ("x",)}
    words = Scaled.words(factor=2.0, exact=0.5, n=3, flag=True, dice=Dice.words(scale=1.0, threshold=7),
                         nest=(1, 4, 0, 1))
    # by hand: mode, four operands of two words each, then these
    assert words == (bits(2.0), bits(0.5), 3, 1, bits(1.0), 7, 1, 4, 0, 1)
    assert [Scaled.places[name] for name in ("y", "x", "factor", "dice", "nest")] == [1, 3, 9, 13, 15]
    write = Scaled.writer("op", lambda *arguments, **options: (arguments, options), lambda value, dtype: (value, dtype))
    given = {"kept": (8, 8), "factor": 2.0, "exact": 0.5, "n": 3, "flag": True, "dice": (0, 0), "nest": ()}
    arguments, options = write((3,), dtype="f", x="x", shift=None, **given)
    assert arguments == ("op", ("x", (0.0, "f")), (3,), (bits(2.0), bits(0.5), 3, 1, 0, 0))
    assert options == {"dtype": "f", "out_dtype": None, "aux": ((8, 8),), "added": 0, "always": False, "summed": 0}
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'shift'"):
        write((3,), dtype="f", x="x", **given)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_kernel_reads_by_name_what_was_written_by_name(dtype):
    memory = np.zeros((5, 4), dtype)
    memory[1], memory[2], memory[3] = 3.0, 5.0, 7.0
    kept = np.zeros(1, np.int64)
    at = [address_of(memory[k]) // memory.itemsize for k in range(5)]
    words = Scaled.words(factor=2.0, exact=0.1, n=3, flag=False, dice=Dice.words(scale=1.0, threshold=7),
                         nest=(1, 4, 0, 1))
    row = np.array([0, at[0], at[2], at[1], at[3], 0, 0, address_of(kept) // 8, 0, *words], np.int64)
    assert SCALED(address_of(row), np.dtype(dtype)) == 0
    assert memory[0].tolist() == [7.0, 7.0, 7.0, 0.0]  # 2 * 3 + 1
    assert memory[3].tolist() == [12.0, 12.0, 12.0, 7.0]  # 7 + 5
    assert kept[0] == 1 * 100 + 4 * 10 + 15
    row[0] = 2  # bit 1: the adjoint of the first input is stored
    SCALED(address_of(row), np.dtype(dtype))
    assert memory[3].tolist() == [dtype(0.1)] * 3 + [7.0]


def test_a_part_finds_its_row_by_an_annotated_variable():
    row = np.zeros(30, np.int64)
    part = np.array([address_of(row) // 8, 2, 4], np.int64)
    SCALED_PART(address_of(part), np.dtype(np.float64))
    assert row[Scaled.places["n"]] == 24


def test_names_leave_the_bytecode_of_numbers():
    by_name = """def run(op: Scaled, f):
    total = op.n + op.d.x
    return f[op.x] if op.stores.shift else total
"""
    by_number = """def run(op, f):
    total = op[11] + op[4]
    return f[op[3]] if op[0] & 4 != 0 else total
"""
    names, numbers = ({code.co_code for code in resolved_source(source, "<run>", {"Scaled": Scaled}).co_consts
                       if hasattr(code, "co_code")} for source in (by_name, by_number))
    assert names == numbers != set()


def test_a_word_of_a_row_that_lies_in_memory_is_counted_from_its_address():
    scope = {"Scaled": Scaled}
    source = "def run(at, f, i, b):\n    return i[at + Scaled.n] + i[at + Scaled.dice.threshold]\n"
    exec(resolved_source(source, "<run>", scope), scope)
    assert scope["run"](2, None, [0, 0, *range(30)], None) == 11 + 14


def test_a_frame_is_written_by_names():
    def plain(op, f, i, b):
        row: Scaled = frame()
        row.n, row.factor = 3, word_of(0.5)
        return row.n * row.factor

    assert resolved(plain)(None, np.zeros(1), None, None) == 1.5


def test_a_function_without_names_is_left_as_it_is():
    assert resolved(scaled_part) is not scaled_part

    def plain(op, f, i, b):
        return op[3]

    assert resolved(plain) is plain


def test_what_is_enclosed_and_defaults_stay():
    factor = 3

    def enclosed(op: Scaled, f, power=2):
        return op.n * factor ** power

    row = [0] * 30
    row[Scaled.places["n"]] = 2
    assert resolved(enclosed)(row, None) == 18


def test_generated_source_uses_names_too():
    made = declared("Made", {"y": "Output", "x0": "Input", "x1": "Input", "n": "int"})
    scope = {"Made": made}
    exec(resolved_source("def run(op: Made, f, i, b):\n    return op.x1 + op.n\n", "<run>", scope), scope)
    assert scope["run"]([0, 1, 0, 3, 0, 5, 0, 7], None, None, None) == 12


@pytest.mark.parametrize("name", ["unknown", "d.unknown", "stores.n", "nest.depth"])
def test_a_name_that_is_not_declared_is_an_error_that_names_it(name):
    scope = {"Scaled": Scaled}
    with pytest.raises(AttributeError, match=f"op.{name}: "):
        resolved_source(f"def run(op: Scaled, f):\n    return op.{name}\n", "<run>", scope)


def test_words_that_a_loop_goes_through_are_read_by_their_places():
    scope = {"Looped": Looped}
    exec(resolved_source("""
def run(op: Looped, f, i, b):
    total = op.n
    for j in range(2):
        total += op[op.place.x0 + 2 * j] * op[op.widths + j]
    return total
""", "<run>", scope), scope)
    row = [0, 0, 0, 3, 0, 5, 0, 100, *Looped.words(n=0, widths=(10, 20, 30), last=0)[1:]]
    assert Looped.places["last"] == 11
    assert scope["run"](row, None, None, None) == 100 + 3 * 10 + 5 * 20


def test_the_integers_of_a_row_are_found_by_name():
    words = [0, *range(8), *Scaled.words(factor=2.0, exact=0.5, n=3, flag=True, dice=(0, 7), nest=(5, 6, 1))]
    assert Scaled.integers(words) == {"n": 3, "dice": {"threshold": 7}, "nest": {"rows": 5, "columns": 6, "outer": 1}}
    assert words[Scaled.word("n")] == 3 and words[Scaled.word("dice.threshold")] == 7
    assert words[Scaled.word("nest.columns")] == 6


def words_by_number(source):
    """Lines that index `op` by a number that is written there, or by a sum that begins with one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "op":
            word = node.slice
            while isinstance(word, ast.BinOp):
                word = word.left
            if isinstance(word, ast.Constant):
                yield node.lineno


def test_kernels_name_the_words_of_their_rows():
    files = Path(tapegrad.__file__).parent.rglob("*.py")
    assert [(path.name, line) for path in files for line in words_by_number(path.read_text())] == []
    assert sorted(words_by_number("f[op[3] + k]\nop[2 * j + 1]\nop[op.widths + j] + op[at]")) == [1, 2]


def test_a_row_of_some_words_by_name_is_zero_elsewhere():
    row = Scaled.row(y=7, n=3)
    assert [row[1], row[11], len(row), sum(row)] == [7, 3, Scaled.size, 10]


def test_the_outer_axes_of_a_nest_follow_its_named_words():
    assert (Nest.size, Nest.places["extents"]) == (3, 3)


def test_operands_come_in_their_order():
    with pytest.raises(TypeError, match="one output, then its inputs"):
        declared("Wrong", {"x": "Input", "y": "Output"})
    with pytest.raises(TypeError, match="no kind of a word"):
        declared("Wrong", {"y": "Output", "x": "Tensor"})


