"""A monitored run in TensorBoard's event format, written by its own library."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike, fspath
from typing import Any

import numpy as np

from ...errors import MissingExtraError
from . import statistics as s
from .figures import Monitored, Sample


def write(monitor: Monitored, folder: str | PathLike[str]) -> None:
    """See `Monitor.tensorboard`."""
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise MissingExtraError("tensorboard() needs TensorBoard's library: pip install 'tapegrad[tensorboard]'"
                                ) from None
    writer = EventFileWriter(fspath(folder))
    try:
        for sample in monitor.samples:
            summary = summary_pb2.Summary()
            for tag, value in scalars(sample):
                summary.value.add(tag=tag, simple_value=value)
            for tag, row in histograms(sample):
                summary.value.add(tag=tag, histo=_histogram(summary_pb2, sample, row))
            writer.add_event(event_pb2.Event(wall_time=sample.seconds, step=sample.step, summary=summary))
    finally:
        writer.close()


def scalars(sample: Sample) -> Iterator[tuple[str, float]]:
    """Tags and numbers."""
    yield "loss", sample.loss
    for layer in sample.watch.layers:
        for what, row in (("norm of values", layer.value), ("norm of adjoints", layer.adjoint)):
            if row is not None:
                yield f"{what}/{layer.name}", sample.norm(row)
        if layer.units:
            yield f"share of dead units/{layer.name}", sample.dead(layer)
        if layer.place.op in ("sigmoid", "tanh"):
            yield f"share of saturated outputs/{layer.name}", sample.saturated(layer)
        for p in layer.parameters:
            yield f"norm of gradients/{p.name}", sample.norm(p.gradient)
            yield f"update to weight/{p.name}", sample.ratio(p)


def histograms(sample: Sample) -> Iterator[tuple[str, int]]:
    """Tags and rows of the statistics."""
    for layer in sample.watch.layers:
        rows = [("values", layer.name, layer.value), ("adjoints", layer.name, layer.adjoint)]
        for p in layer.parameters:
            rows += [("gradients", p.name, p.gradient), ("weights", p.name, p.weight)]
        yield from ((f"{what}/{name}", row) for what, name, row in rows
                    if row is not None and sample.results[row, s.COUNTS:].any())


def _histogram(proto: Any, sample: Sample, row: int) -> Any:
    found = sample.results[row]
    low, high = found[s.LEAST], found[s.GREATEST]
    edges, counts, size = np.linspace(low, high, s.BINS + 1)[1:], found[s.COUNTS:], int(sample.watch.sizes[row])
    return proto.HistogramProto(min=low, max=high, num=size, sum=found[s.SUM], sum_squares=found[s.SQUARES],
                                bucket_limit=edges.tolist(), bucket=(counts * (size / counts.sum())).tolist())
