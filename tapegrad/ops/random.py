"""Random tensors: each element is a function of a key, a stream and its number, so that replays draw anew."""

from __future__ import annotations

import math
from typing import Any

from ..engine.language import cast, device
from ..engine.mathematics.vecmath import cos, log, sqrt
from ..engine.philox import philox, uniform
from ..engine.row import At, Output, Row, Words
from .dropout import number_in_batch
from .table import Op

TWO_PI = 2.0 * math.pi


class Drawn(Words):
    """The stream of an op that draws, as dropout's."""

    key: int
    stream: int
    counted: int  # address of a recording's key, step and share of the batch (`Capture.random_state`), or 0
    each: int  # elements of a row of the batch, where ranks share it, else 0


@device
def drawn_key(op: Any, at: At[Drawn], i: Any) -> int:
    """The recording's present key, or the instruction's own."""
    return i[at.counted] if at.counted != 0 else at.key


@device
def drawn_stream(op: Any, at: At[Drawn], i: Any) -> int:
    """Number of the random stream: the instruction's; in a recording another one at every step."""
    return at.stream + (i[at.counted + 1] << 20) if at.counted != 0 else at.stream


@device
def drawn_number(op: Any, at: At[Drawn], k: int, i: Any) -> int:
    """The number of element `k`, by which it is drawn."""
    return number_in_batch(k, at.each, at.counted, i)


@device
def below(bound: Any, element: Any, stream: Any, key: Any) -> Any:
    """A whole number from 0 up to but not `bound`, of 63 random bits."""
    a, b, _, _ = philox(element, stream, key)
    return ((a << 31) | (b >> 1)) % bound


class Floats(Row):
    y: Output
    drawn: Drawn
    elements: int
    p: float
    q: float


def uniform_forward(op: Floats, f: Any, i: Any, b: Any) -> int:
    """y from p up to but not p + q."""
    key, stream, zero = drawn_key(op, op.drawn, i), drawn_stream(op, op.drawn, i), cast(0.0, f)
    for k in range(op.elements):
        f[op.y + k] = op.p + op.q * uniform(drawn_number(op, op.drawn, k, i), stream, key, zero)
    return 0


def normal_forward(op: Floats, f: Any, i: Any, b: Any) -> int:
    """y = p + q z by G. E. P. Box and M. E. Muller, 1958."""
    key, stream, zero = drawn_key(op, op.drawn, i), drawn_stream(op, op.drawn, i), cast(0.0, f)
    for k in range(op.elements):
        n = drawn_number(op, op.drawn, k, i)
        u, v = uniform(2 * n, stream, key, zero), uniform(2 * n + 1, stream, key, zero)
        f[op.y + k] = op.p + op.q * sqrt(-2.0 * log(1.0 - u)) * cos(TWO_PI * v)
    return 0


UNIFORM = Op("uniform", uniform_forward, row=Floats, doc="random numbers between two", batching="rows")
NORMAL = Op("normal", normal_forward, row=Floats, doc="random numbers of the normal distribution", batching="rows")


class Integers(Row):
    y: Output
    drawn: Drawn
    elements: int
    low: int
    span: int


def integers_forward(op: Integers, f: Any, i: Any, b: Any) -> int:
    """y from low up to but not low + span."""
    key, stream = drawn_key(op, op.drawn, i), drawn_stream(op, op.drawn, i)
    for k in range(op.elements):
        i[op.y + k] = op.low + below(op.span, drawn_number(op, op.drawn, k, i), stream, key)
    return 0


INTEGERS = Op("randint", integers_forward, row=Integers, doc="random integers", batching="rows")


class Permutation(Row):
    y: Output
    drawn: Drawn
    rows: int
    n: int


def permutation_forward(op: Permutation, f: Any, i: Any, b: Any) -> int:
    """The numbers below n in random order, by R. Durstenfeld, 1964."""
    key, stream, n = drawn_key(op, op.drawn, i), drawn_stream(op, op.drawn, i), op.n
    for row in range(op.rows):
        y = op.y + row * n
        for k in range(n):
            i[y + k] = k
        for k in range(n - 1, 0, -1):
            other = y + below(k + 1, row * n + k, stream, key)
            kept = i[y + k]
            i[y + k] = i[other]
            i[other] = kept
    return 0


PERMUTATION = Op("randperm", permutation_forward, row=Permutation, doc="numbers in random order", batching="rows")
