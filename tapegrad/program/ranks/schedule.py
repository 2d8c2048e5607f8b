"""When gradients are sent: buckets, chosen by what the network was measured to need and when the walk ends each one.

A step's time is predicted by LogGP with overlap: a bucket of n bytes takes ``latency + n / bandwidth`` seconds, of
which the fraction ``hidden`` passes while the walk goes on; the rest, and ``overhead`` for each bucket, is taken from
the walk (A. Alexandrov et al., "LogGP", 1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Network", "Plan", "Sent", "buckets_within", "chosen_buckets", "planned", "predicted"]

#: buckets at most, and units out of which they are made
_MOST, _UNITS = 8, 256
#: several buckets must be predicted to save this part of a step
_GAIN = 0.01


class Network(NamedTuple):
    """What was measured of sums over the ranks.

    Attributes
    ----------
    latency : float
        Seconds of the sum of two numbers.
    bandwidth : float
        Bytes a second by which a larger one takes longer.
    hidden : float
        The fraction of a sum's time that passes while the processor computes, 0 to 1.
    overhead : float
        Seconds of the processor to begin a sum.
    """

    latency: float
    bandwidth: float
    hidden: float
    overhead: float

    def seconds(self, nbytes: float) -> float:
        """Of the sum of so many bytes."""
        return self.latency + nbytes / self.bandwidth


class Sent(NamedTuple):
    """A bucket in a timeline: seconds from the start of the walks.

    Attributes
    ----------
    ready, begun, ended : float
        When its last gradient is there, and when its sum begins and ends.
    """

    ready: float
    begun: float
    ended: float


class Plan(NamedTuple):
    """Which gradients are sent together, and what that follows from.

    Attributes
    ----------
    bucket_of : list of int
        By gradient; buckets are sent in the order of their numbers.
    ends : list of float
        By gradient, when rank 0's walks are expected to have ended it, in seconds from their start.
    nbytes : list of int
        By gradient, as it is sent.
    walk : float
        When the walks are expected to end.
    network : Network
    """

    bucket_of: list[int]
    ends: list[float]
    nbytes: list[int]
    walk: float
    network: Network

    def timeline(self, bucket_of: Sequence[int] | None = None) -> tuple[list[Sent], float, float]:
        """As `predicted` gives it, of these buckets or of others."""
        numbers = np.asarray(self.bucket_of if bucket_of is None else bucket_of, np.int64)
        count = int(numbers.max(initial=-1)) + 1
        nbytes = np.bincount(numbers, self.nbytes, count)
        ready = np.zeros(count)
        np.maximum.at(ready, numbers, self.ends)
        ready[count - 1:] = self.walk  # the last one goes with the loss, when the walk has ended
        return predicted(self.network, np.maximum.accumulate(ready).tolist(), nbytes.tolist(), self.walk)


def planned(network: Network, ends: Sequence[float], nbytes: Sequence[int], walk: float, most: int | None) -> Plan:
    """The plan with buckets of at most so many bytes, or with those that are predicted to end first."""
    bucket_of = chosen_buckets(network, ends, nbytes, walk) if most is None else buckets_within(most, ends, nbytes)
    return Plan(bucket_of, list(ends), list(nbytes), walk, network)


def predicted(network: Network, ready: Sequence[float], nbytes: Sequence[float],
              walk: float) -> tuple[list[Sent], float, float]:
    """The timeline of buckets, seconds until the walk has ended, and until all sums have too.

    >>> link = Network(latency=1.0, bandwidth=10.0, hidden=1.0, overhead=0.0)
    >>> predicted(link, [4.0, 10.0], [40.0, 10.0], 10.0)
    ([Sent(ready=4.0, begun=4.0, ended=9.0), Sent(ready=10.0, begun=10.0, ended=12.0)], 10.0, 12.0)
    """
    sent, taken, free = [], 0.0, 0.0
    for at, size in zip(ready, nbytes):
        seconds = network.seconds(size)
        begun = max(at + taken, free)
        # what is not hidden stops the walk, if it still goes on
        taken += network.overhead + ((1.0 - network.hidden) * seconds if at < walk else 0.0)
        free = begun + network.overhead + seconds
        sent.append(Sent(at, begun, free))
    return sent, walk + taken, max(walk + taken, free)


def chosen_buckets(network: Network, ready: Sequence[float], nbytes: Sequence[int], walk: float) -> list[int]:
    """The bucket of each gradient, of such sizes, that the walk ends at such times: those that end first.

    For each number of buckets the best bounds are found by dynamic programming as if sums did not slow the walk, and
    these are compared by `predicted`. One bucket is enough if several do not save a hundredth.

    >>> fast = Network(1e-5, 1e9, 1.0, 1e-6)
    >>> chosen_buckets(fast, [1e-3, 2e-3, 3e-3], [400_000, 400_000, 40_000], 3e-3)
    [0, 0, 1]
    >>> chosen_buckets(fast._replace(hidden=0.0), [1e-3, 2e-3, 3e-3], [400_000, 400_000, 40_000], 3e-3)
    [0, 0, 0]
    """
    if not len(ready):
        return []
    order = np.argsort(ready, kind="stable")
    times, sizes = np.asarray(ready, float)[order], np.asarray(nbytes, float)[order]
    # units of neighbours, so that thousands of small parameters are planned as fast as a few
    unit = np.minimum((np.cumsum(sizes) - sizes) * _UNITS // max(sizes.sum(), 1.0), _UNITS - 1).astype(np.int64)
    _, starts = np.unique(unit, return_index=True)
    ends = np.append(starts[1:], len(sizes))
    ready_at, total = np.append(0.0, times[ends - 1]), np.append(0.0, np.cumsum(sizes)[ends - 1])
    n = len(ends)
    cost = network.overhead + network.latency + (total[None, :] - total[:, None]) / network.bandwidth
    cost[np.tril_indices(n + 1)] = np.inf
    free, chain = np.append(0.0, np.full(n, np.inf)), []
    plans: list[tuple[float, list[int]]] = []
    for _ in range(min(_MOST, n)):
        ends_at = np.maximum(free[:, None], ready_at[None, :]) + cost
        chain.append(ends_at.argmin(axis=0))
        free = ends_at.min(axis=0)
        cut = [n]
        for before in reversed(chain):
            cut.insert(0, int(before[cut[0]]))
        took = predicted(network, ready_at[cut[1:]].tolist(), np.diff(total[cut]).tolist(), walk)[2]
        plans.append((took, cut[1:]))
    took, bounds = min(plans, key=lambda plan: plan[0])
    if took > (1.0 - _GAIN) * plans[0][0]:
        bounds = plans[0][1]
    of_unit = np.searchsorted(bounds, np.arange(n), "right")
    found = np.empty(len(sizes), np.int64)
    found[order] = of_unit[np.searchsorted(starts, np.arange(len(sizes)), "right") - 1]
    return [int(k) for k in found]


def buckets_within(most: int, ready: Sequence[float], nbytes: Sequence[int]) -> list[int]:
    """The bucket of each gradient if one has at most so many bytes, or one gradient, in the order of their times.

    >>> buckets_within(100, [3.0, 2.0, 1.0], [40, 70, 20])
    [1, 0, 0]
    """
    found, number, filled = [0] * len(nbytes), 0, 0
    for k in np.argsort(ready, kind="stable").tolist():
        if filled and filled + nbytes[k] > most:
            number, filled = number + 1, 0
        found[k], filled = number, filled + nbytes[k]
    return found
