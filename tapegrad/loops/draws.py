"""Random numbers in loops: what draws them, and the state of the generator that they come from.

A draw is a statement of its own in the normal form, so that the reverse sweep has the number that the forward sweep
drew: it is recorded where it is overwritten, and never drawn again. Draws with a location and a scale are these of a
standard draw, by which they have a derivative. The generator is numba's, which is each thread's own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

__all__ = ["WORDS", "is_draw", "random_state", "restore", "seeded", "standard"]

#: int64 words that hold the generator's state: 624 words of 32 bits, a place in them, and the second normal number
WORDS = 320
#: by location and scale, of which a standard draw has 0 and 1
_BY_LOCATION = {"normal", "laplace", "logistic", "gumbel"}
#: numbers that are multiplied by a scale, the last of so many parameters
_BY_SCALE = {"exponential": 1, "rayleigh": 1, "gamma": 2}
_OTHERS = {"rand", "randn", "random", "random_sample", "ranf", "sample", "randint", "standard_normal", "uniform",
           "standard_exponential", "standard_gamma", "beta", "poisson", "binomial", "choice", "permutation",
           "lognormal", "chisquare", "geometric", "weibull", "pareto", "standard_t", "standard_cauchy", "triangular",
           "vonmises", "f", "power", "negative_binomial", "hypergeometric", "logseries", "wald", "zipf"}
_NAMES = {getattr(np.random, name): name for name in (*_BY_LOCATION, *_BY_SCALE, *_OTHERS)}


def is_draw(value: Any) -> bool:
    """Whether a function draws random numbers."""
    try:
        return value in _NAMES
    except TypeError:
        return False


def standard(value: Any, given: list[str]) -> tuple[list[str], str]:
    """The arguments of a draw without location and scale, and how ``{draw}`` becomes the number that is asked for.

    >>> standard(np.random.normal, ["m", "s", "n"])
    (['0.0', '1.0', 'n'], '(m) + (s) * {draw}')
    """
    name = _NAMES[value]
    if name in _BY_LOCATION and given:
        location, scale, *size = [*given, "1.0"] if len(given) == 1 else given
        return ["0.0", "1.0", *size], f"({location}) + ({scale}) * {{draw}}"
    if name == "uniform" and given:
        low, high, *size = [*given, "1.0"] if len(given) == 1 else given
        return ["0.0", "1.0", *size], f"({low}) + (({high}) - ({low})) * {{draw}}"
    count = _BY_SCALE.get(name, 0)
    if count and len(given) >= count:
        return [*given[:count - 1], "1.0", *given[count:]], f"({given[count - 1]}) * {{draw}}"
    return given, "{draw}"


@cache
def _copied() -> tuple[Callable, Callable]:
    """Compiled functions that copy the state to words, and back."""
    import numba
    from numba.core import cgutils, types
    from numba.cpython import randomimpl
    from numba.extending import intrinsic

    def copying(is_back: bool) -> Any:
        def copied(typingctx: Any, words: Any) -> Any:
            def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                state = randomimpl.get_state_ptr(context, builder, "np")
                kept = context.make_array(signature.args[0])(context, builder, args[0]).data
                size = context.get_abi_sizeof(randomimpl.rnd_state_t)
                assert size <= 8 * WORDS
                target, source = (state, kept) if is_back else (kept, state)
                count = cgutils.intp_t(size)
                cgutils.raw_memcpy(builder, target, source, count, 1)
                return context.get_dummy_value()

            return types.void(words), code

        return intrinsic(copied)

    keep, back = copying(False), copying(True)

    @numba.njit(nogil=True)
    def to_words(words: Any) -> None:
        keep(words)

    @numba.njit(nogil=True)
    def from_words(words: Any) -> None:
        back(words)

    return to_words, from_words


def random_state() -> np.ndarray:
    """The state of this thread's generator."""
    words = np.empty(WORDS, np.int64)
    _copied()[0](words)
    return words


def restore(words: np.ndarray) -> None:
    """Give this thread's generator a state back."""
    _copied()[1](words)


@cache
def _begin_and_end() -> tuple[Callable, Callable]:
    import numba

    keep, back = _copied()

    @numba.njit(nogil=True)
    def tapegrad_begin_draws(key: np.ndarray) -> np.ndarray:
        words = np.empty(WORDS, np.int64)
        keep(words)
        seed = 0
        for bit in key:
            seed = 2 * seed + (1 if bit > 0.0 else 0)
        np.random.seed(seed)
        return words

    @numba.njit(nogil=True)
    def tapegrad_end_draws(words: np.ndarray) -> None:
        back(words)

    return tapegrad_begin_draws, tapegrad_end_draws


def seeded(normal: Any) -> Any:
    """The normal form with one parameter more, of whose positive elements the seed is made; the thread's generator is
    afterwards as it was."""
    import ast

    made = copy.copy(normal)
    key, state = normal.fresh("key"), normal.fresh("state")
    begin, end = _begin_and_end()
    made.constants = {**normal.constants, "tapegrad_begin_draws": begin, "tapegrad_end_draws": end}
    made.parameters = [*normal.parameters, key]
    first, last = (ast.parse(text).body for text in (f"{state} = tapegrad_begin_draws({key})",
                                                     f"tapegrad_end_draws({state})"))
    made.body = [*first, *normal.body, *last]
    return made
