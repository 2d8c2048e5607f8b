"""How a step's gradients go to the other ranks, as a table and, drawn by `explain`, as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..planning.report import Rows
from ..ranks.schedule import Network, Sent

__all__ = ["Communication", "SentBucket", "communication_of"]

_NAMES = 3  # that the table shows of a bucket


@dataclass(frozen=True)
class SentBucket:
    """Gradients that are sent together.

    Attributes
    ----------
    parameters : tuple of str
    nbytes : int
        That a rank gives, compressed or not.
    planned : Sent
    sent, arrived : float or None
        In the last step, seconds from its start: when the bucket was sent and when its sum was found to be there; None
        before the first one.
    """

    parameters: tuple[str, ...]
    nbytes: int
    planned: Sent
    sent: float | None
    arrived: float | None


@dataclass(frozen=True)
class Communication:
    """The timeline of a step's sums over the ranks, planned and as the last step had it. Prints as a table.

    Attributes
    ----------
    ranks : int
    dtype : str
        In which gradients are sent.
    buckets : tuple of SentBucket
        In the order in which they are sent; the last one goes after the walk, with the loss.
    tables : tuple of str
        Parameters whose gradients' rows are exchanged after the walk, with their numbers.
    network : Network or None
        As rank 0 has measured it at the first step; None for one process.
    walk, end : float
        Seconds after which the walks, and all sums, are expected to end; by a cost model of the walk.
    end_of_one : float
        The same, if all gradients were sent in one bucket.
    walked, ended : float or None
        The same in the last step, from the end of the sums of the one before or from the start of the run; so the
        update and the gathering of the batch are in it.
    """

    ranks: int
    dtype: str
    buckets: tuple[SentBucket, ...]
    tables: tuple[str, ...]
    network: Network | None
    walk: float
    end: float
    end_of_one: float
    walked: float | None
    ended: float | None

    @property
    def nbytes(self) -> int:
        """Bytes that a rank gives in a step, without those of tables."""
        return sum(b.nbytes for b in self.buckets)

    def rows(self) -> Rows:
        """The table: a row for each bucket, in microseconds from the start of the step."""
        return Rows(("bucket", "bytes", "ready", "sent", "arrived", "in the last step: sent", "arrived", "parameters"),
                    tuple((k, b.nbytes, *map(_us, b.planned), _us(b.sent), _us(b.arrived), _names(b.parameters))
                          for k, b in enumerate(self.buckets)))

    def __str__(self) -> str:
        if self.network is None:
            return "one process: nothing is sent"
        link, count = self.network, len(self.buckets)
        several = f"{count} buckets" if count != 1 else "one bucket"
        lines = [f"{self.nbytes:,} bytes of gradients a step ({self.dtype}), summed over {self.ranks} ranks in "
                 f"{several}",
                 f"measured by rank 0: {1e6 * link.latency:.1f} us and {link.bandwidth / 1e9:.2f} GB/s for a sum, of "
                 f"which {100 * link.hidden:.0f} % passes while the walk goes on, and {1e6 * link.overhead:.1f} us to "
                 "begin it", "", str(self.rows()), "",
                 f"planned, us: the walk ends at {1e6 * self.walk:,.0f}, all sums at {1e6 * self.end:,.0f}; in one "
                 f"bucket they would at {1e6 * self.end_of_one:,.0f}"]
        if self.walked is not None and self.ended is not None:
            lines.append(f"in the last step, us: the walk ended at {1e6 * self.walked:,.0f}, all sums at "
                         f"{1e6 * self.ended:,.0f}")
        if self.tables:
            lines.append(f"by rows, after the walk: {', '.join(self.tables)}")
        return "\n".join(lines)

    if TYPE_CHECKING:  # a method by assignment, in `explain.communication`

        def plot(self, path: str | PathLike[str], title: str | None = None) -> None: ...


def communication_of(step: Any) -> Communication:
    """That of a `Step`, after its latest run."""
    reduction = step.reduction
    exchange = None if reduction is None else reduction.exchange
    if exchange is None:
        return Communication(1, step.dtype.name, (), (), None, 0.0, 0.0, 0.0, None, None)
    plan, ranks = exchange.plan, reduction.ranks
    names = {p.node: name for root in reversed(step.program.capture.roots) for name, p in root.named_parameters()}
    sent, end_of_walk, end = plan.timeline()
    ran, began = exchange.ended > 0.0, exchange.began
    buckets = tuple(SentBucket(_of(names, [reduction.dense[k] for k in bucket.leaves]),
                               sum(plan.nbytes[k] for k in bucket.leaves), planned,
                               bucket.sent - began if ran else None, bucket.arrived - began if ran else None)
                    for bucket, planned in zip(exchange.buckets, sent))
    return Communication(ranks.size, ranks.compression or step.dtype.name, buckets,
                         _of(names, [leaf for leaf in reduction.leaves if leaf.touched is not None]), plan.network,
                         end_of_walk, end, plan.timeline([0] * len(plan.nbytes))[2],
                         exchange.walked - began if ran else None, exchange.ended - began if ran else None)


def _of(names: dict[Any, str], leaves: Iterable[Any]) -> tuple[str, ...]:
    return tuple(names.get(leaf, str(list(leaf.shape))) for leaf in leaves)


def _us(seconds: float | None) -> int | str:
    return "-" if seconds is None else round(1e6 * seconds)


def _names(parameters: tuple[str, ...]) -> str:
    more = len(parameters) - _NAMES
    return ", ".join(parameters[:_NAMES]) + (f" and {more} more" if more > 0 else "")
