"""The library's one source of randomness: counter-based, seeded in one place, thread-safe.

Three streams are derived from one seed, so that drawing initial weights never changes a dropout mask, or vice versa:

- `generator`, a NumPy `Generator` over Philox, from which shuffles draw; - `weight_generator`, one for each tensor that
  is initialised: threads draw in parallel, and none holds a lock for long, which a forked process would find held
  forever; - `dropout_key`, a (seed, counter) pair for ops with random bits in compiled code. Such an op keeps the pair
  instead of the bits and regenerates them in the reverse walk.

Until `manual_seed` is called the seed comes from the operating system.
"""

from __future__ import annotations

import operator
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError
from .locks import PATIENCE, Lock
from .philox import SHUFFLE, Shuffle
from .storage import address_of

__all__ = ["dropout_key", "generator", "initial_seed", "manual_seed", "permutation", "restore_shared_streams",
           "restore_streams", "seed", "shared_streams", "shuffle_key", "shuffled", "streams", "weight_generator"]

_WORD = 1 << 64
_LARGEST_KEY = (1 << 63) - 1


class _Streams:
    """A seed and the streams derived from it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        for_generator, for_keys, for_weights = np.random.SeedSequence(seed).spawn(3)
        self.generator = np.random.Generator(np.random.Philox(for_generator))
        # in a signed word, as the tape's integers are int64
        self.key = int(for_keys.generate_state(1, np.uint64)[0]) & _LARGEST_KEY
        self.counter = 0
        self.weight_key = for_weights.generate_state(2, np.uint64)
        self.weights = 0  # number of initialised tensors



def _entropy() -> int:
    return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])


_lock = Lock()
_streams = _Streams(_entropy())


def manual_seed(seed: int) -> None:
    """Seed every random draw of the library: initialisers, dropout, shuffles that are not seeded themselves.

    Parameters
    ----------
    seed : int
        From -2**63 to 2**64 - 1; a negative seed means ``2**64 + seed``, as in PyTorch. NumPy integers are
        welcome.

    Raises
    ------
    ArgumentError
        If `seed` is not an integer or needs more than 64 bits.

    Examples
    --------
    >>> import tapegrad as tg
    >>> from tapegrad import nn
    >>> tg.manual_seed(0)
    >>> first = nn.Linear(2, 2).weight.numpy()
    >>> tg.manual_seed(0)
    >>> bool((nn.Linear(2, 2).weight.numpy() == first).all())
    True
    """
    global _streams
    if isinstance(seed, (bool, np.bool_)):
        raise ArgumentError(f"manual_seed: expected an integer, got the boolean {seed}")
    try:
        number = operator.index(seed)
    except TypeError:
        raise ArgumentError(
            f"manual_seed: expected an integer, got {seed!r} of type {type(seed).__name__}"
        ) from None
    if not -(_WORD >> 1) <= number < _WORD:
        raise ArgumentError(
            f"manual_seed: {number} does not fit in 64 bits; use a seed from -2**63 to 2**64 - 1"
        )
    fresh = _Streams(number % _WORD)
    with _lock.now:
        _streams = fresh


def seed() -> int:
    """Seed the library from the operating system's entropy; return the seed, to repeat the run with it."""
    number = _entropy()
    manual_seed(number)
    return number


def initial_seed() -> int:
    """The seed of the present streams, from 0 to 2**64 - 1."""
    return _streams.seed


def generator() -> np.random.Generator:
    """The library's NumPy generator (Philox), from which shuffles draw.

    Returns
    -------
    numpy.random.Generator
        The same object until the next `manual_seed` or `seed`. Its methods hold its own lock, so threads may share it;
        which thread gets which numbers then depends on their timing.
    """
    return _streams.generator


def weight_generator() -> np.random.Generator:
    """A NumPy generator (Philox) for the initial values of one tensor; unique since the last seeding."""
    with _lock.now:
        streams = _streams
        number = streams.weights
        streams.weights = number + 1
    return np.random.Generator(np.random.Philox(key=streams.weight_key, counter=[0, 0, 0, number]))


def permutation(rng: np.random.Generator, n: int) -> np.ndarray:
    """The numbers below `n` in random order: int64, (n,). One word of `rng` is drawn as a key.

    The same as ``rng.permutation(n)`` in a third of the time, but in another order.

    >>> order = permutation(np.random.default_rng(0), 5)
    >>> sorted(order.tolist())
    [0, 1, 2, 3, 4]
    """
    return shuffled(n, shuffle_key(rng))


def shuffle_key(rng: np.random.Generator) -> int:
    """A key of a random order, from 0 to 2**63 - 1: one word of `rng`."""
    return int(rng.bit_generator.random_raw()) & _LARGEST_KEY


def shuffled(n: int, key: int) -> np.ndarray:
    """The numbers below `n` in the order of a key: int64, (n,)."""
    order = np.arange(n, dtype=np.int64)
    row = np.array(Shuffle.words(mode=0, numbers=address_of(order) // 8, count=n, seed=key), np.int64)
    SHUFFLE(address_of(row), np.dtype(np.float32))
    return order


def dropout_key() -> tuple[int, int]:
    """A pair that is unique since the last seeding, as a key of random bits.

    Returns
    -------
    seed : int
        From 0 to 2**63 - 1; the same until the next seeding.
    counter : int
        0, 1, 2, ... in the order of calls.
    """
    with _lock.now:
        streams = _streams
        counter = streams.counter
        streams.counter = counter + 1
    return streams.key, counter


@contextmanager
def preserved() -> Iterator[None]:
    """Context after which the random streams of ops and initialisers go on as if nothing had been drawn in it."""
    streams = _streams
    before = streams.counter, streams.weights
    try:
        yield
    finally:
        with _lock.now:
            streams.counter, streams.weights = before


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Context with streams of its own, after which the library's go on as if nothing had been drawn in it.

    What other threads draw meanwhile comes from these too.
    """
    global _streams
    outer = _streams
    manual_seed(seed)
    try:
        yield
    finally:
        with _lock.now:
            _streams = outer


def streams() -> dict[str, Any]:
    """The state of all random streams, for `restore_streams`."""
    with _lock.now:
        now = _streams
        return {"seed": now.seed, "counter": now.counter, "weights": now.weights,
                "generator": dict(now.generator.bit_generator.state)}


def restore_streams(state: Mapping[str, Any]) -> None:
    """Have all random streams go on from a state of `streams`; `generator` stays the same object."""
    fresh = _Streams(state["seed"])
    with _lock.now:
        now = _streams
        now.seed, now.key, now.weight_key = fresh.seed, fresh.key, fresh.weight_key
        now.counter, now.weights = state["counter"], state["weights"]
        now.generator.bit_generator.state = state["generator"]


def shared_streams() -> dict[str, Any]:
    """The states of the generators that all code in a process shares, for `restore_shared_streams`: those of the
    functions in NumPy's and in Python's module `random`.
    """
    version, words, normal = random.getstate()
    return {"numpy": dict(np.random.get_state(legacy=False)), "python": np.array(words, np.uint32),
            "version": version, "normal": normal}


def restore_shared_streams(state: Mapping[str, Any]) -> None:
    """Have NumPy's and Python's shared generators go on from a state of `shared_streams`.

    Raises
    ------
    DataError
        ``numpy.random`` or ``random`` has another kind of generator now.
    """
    there = state["numpy"]["bit_generator"], state["version"]
    here = np.random.get_state(legacy=False)["bit_generator"], random.getstate()[0]
    if here != there:
        raise DataError(f"the state is of numpy.random's {there[0]} and version {there[1]} of Python's random, here "
                        f"are {here[0]} and version {here[1]}; numpy.random.set_bit_generator takes the former")
    np.random.set_state(state["numpy"])
    random.setstate((state["version"], tuple(state["python"].tolist()), state["normal"]))


# A fork waits until nobody draws: the child would find the generator locked forever, and in an inconsistent state.

_held: list[_Streams] = []  # by the fork in progress


def _before_fork() -> None:
    streams = _streams
    if streams.generator.bit_generator.lock.acquire(timeout=PATIENCE):
        _held.append(streams)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().generator.bit_generator.lock.release()


def _after_fork_in_child() -> None:
    if not _held:  # some thread draws for longer than that
        _streams.generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(_streams.seed).spawn(4)[3]))
    _after_fork_in_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent,
                        after_in_child=_after_fork_in_child)
