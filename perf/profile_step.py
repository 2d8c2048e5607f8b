"""Where a step's time goes, by instruction and by op, and how far from this machine's limits each of them runs.

The limits are measured here first: floating point operations a second of large matrix products, and bytes a second of
an addition of arrays of several sizes, for what fits into a cache moves faster. The least time of an instruction is
what its products take at the one or its bytes at the other, whichever is longer; the limit's share is that by the time
it took. Bytes are those of its operands, each once; scratch and repeated reads are not counted, and neither is
arithmetic other than products (an elementwise op of many operations an element shows a low share of the bytes).
Each instruction is run by itself, so that one of less than a microsecond is measured roughly.
"""

from __future__ import annotations

import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import report
from worker import load_works

NETWORKS = load_works().NETWORKS
SIZES = [1 << k for k in range(16, 28)]  # bytes that an addition moves
LEAST = 0.5  # microseconds below which a time says nothing of a rate


def best_seconds(call: Any, seconds: float) -> float:
    """The least time of a call."""
    call()
    least, began = math.inf, time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - start)
    return least


def peaks(seconds: float) -> dict[str, Any]:
    """FLOP a second of a product, and bytes a second by bytes moved."""
    import numpy as np
    from scipy.linalg.blas import sgemm

    rng, rate = np.random.default_rng(0), 0.0
    for n in (256, 512, 1024):
        a, b, c = (np.asfortranarray(rng.standard_normal((n, n)), dtype=np.float32) for _ in range(3))
        rate = max(rate, 2 * n**3 / best_seconds(partial(sgemm, 1.0, a, b, c=c, overwrite_c=True), seconds / 3))
    stream = {}
    for size in SIZES:
        x, y, z = (np.ones(size // 12, np.float32) for _ in range(3))
        stream[size] = size / best_seconds(partial(np.add, x, y, out=z), seconds / len(SIZES))
    return {"gemm": rate, "stream": stream}


def bandwidth(limits: dict[str, Any], nbytes: float) -> float:
    """Bytes a second that so many bytes can be moved at."""
    return limits["stream"][min(SIZES, key=lambda size: abs(math.log(size / max(nbytes, 1))))]


def measure(network: Any, seconds: float, limits: dict[str, Any]) -> dict[str, Any]:
    """A row an instruction and direction, and the time of the whole step."""
    import numpy as np

    import tapegrad as tg
    import tapegrad.nn.functional as F
    from tapegrad import nn, optim
    from tapegrad.program.planning.work import work_of

    tg.manual_seed(0)
    model = network.build(nn, np.arange(load_works().CONTEXT))
    optimizer = getattr(optim, network.optimizer)(model.parameters(), lr=1e-6)
    step = tg.TrainStep(lambda x, y: network.loss(F, model, x, y), optimizer)
    X, Y = network.data()
    step.run(X, Y, batch_size=network.batch)
    whole = []
    began = time.perf_counter()
    while len(whole) < 3 or time.perf_counter() - began < seconds:
        history = step.run(X, Y, batch_size=network.batch)
        whole.append(1e6 * history.seconds / len(history))
    table = step.profile(X[:network.batch], Y[:network.batch], seconds=seconds)
    rows = []
    for row, work in zip(table, work_of(step.tape)):
        for direction, nbytes, products in (("forward", work.forward_bytes, work.forward_products),
                                            ("reverse", work.reverse_bytes, work.reverse_products)):
            taken = row[direction]
            if not nbytes:
                continue
            least = 1e6 * max(2 * products / limits["gemm"], nbytes / bandwidth(limits, nbytes))
            rows.append({"number": row["#"], "op": row["op"], "out": row["out"], "layer": row["layer"],
                         "direction": direction, "microseconds": taken, "bytes": nbytes, "products": products,
                         "least_microseconds": least})
    return {"step_microseconds": report.median(whole), "instructions": rows}


def rates(taken: float, nbytes: float, products: float, least: float) -> list[str]:
    """GFLOP/s, GB/s and the limit's share in a table."""
    if taken < LEAST:
        return ["-", "-", "-"]
    return [f"{2e-3 * products / taken:,.1f}" if products else "-", f"{1e-3 * nbytes / taken:,.1f}",
            f"{100 * min(least / taken, 9.99):.0f}%"]


def show(title: str, result: dict[str, Any], limits: dict[str, Any], top: int) -> None:
    """By instruction (those that take longest), by op, and the whole."""
    rows = result["instructions"]
    total = sum(row["microseconds"] for row in rows)
    slowest = sorted(rows, key=lambda row: -row["microseconds"])[:top]
    kept = {id(row) for row in slowest}
    cells = [[f"{row['number']}", row["op"], row["direction"], row["out"], row["layer"], f"{row['microseconds']:,.1f}",
              f"{100 * row['microseconds'] / total:.1f}%",
              *rates(row["microseconds"], row["bytes"], row["products"], row["least_microseconds"])]
             for row in rows if id(row) in kept]
    more = f", the {top} slowest of {len(rows)}" if len(rows) > top else ""
    report.table(f"{title}: by instruction{more}", ["#", "op", "", "out", "layer", "us", "share", "GFLOP/s", "GB/s",
                                                    "of the limit"], cells)
    cells = []
    for (op, direction), group in sorted(by_op(rows).items(), key=lambda item: -item[1]["microseconds"]):
        cells.append([op, direction, group["count"], f"{group['microseconds']:,.1f}",
                      f"{100 * group['microseconds'] / total:.1f}%",
                      *rates(group["microseconds"], group["bytes"], group["products"], group["least_microseconds"])])
    report.table("by op", ["op", "", "instructions", "us", "share", "GFLOP/s", "GB/s", "of the limit"], cells)
    least = sum(row["least_microseconds"] for row in rows)
    print(f"\na whole step takes {result['step_microseconds']:,.1f} microseconds; the instructions by themselves "
          f"{total:,.1f}, at the limits {least:,.1f} (gathering the batch and the update are not among them)")
    stream = limits["stream"]
    print(f"limits: {1e-9 * limits['gemm']:,.0f} GFLOP/s; GB/s by bytes moved: "
          + ", ".join(f"{1e-9 * stream[size]:,.0f} ({size >> 10:,} KiB)" for size in SIZES[::3]))


def by_op(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, float]]:
    """Sums over the instructions of an op and direction."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        group = found.setdefault((row["op"], row["direction"]), {"count": 0})
        group["count"] += 1
        for name in ("microseconds", "bytes", "products", "least_microseconds"):
            group[name] = group.get(name, 0.0) + row[name]
    return found


def plot(title: str, result: dict[str, Any], file: Path) -> None:
    """Time by op, with the least time within; and each instruction's rate against its intensity."""
    plt = report.pyplot()
    rows = result["instructions"]
    groups = sorted(by_op(rows).items(), key=lambda item: -item[1]["microseconds"])[:16]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 1.6 + 0.28 * len(groups)), layout="constrained",
                                         width_ratios=[3, 2])
    names = [f"{op}, {direction}" for (op, direction), _ in groups]
    values = [group["microseconds"] for _, group in groups]
    left.barh(names, values, 0.75, color="#9bb8d3", label="taken")
    left.barh(names, [min(g["least_microseconds"], g["microseconds"]) for _, g in groups], 0.75, color="#2f5d8a",
              label="at the machine's limit")
    for place, (value, (_, group)) in enumerate(zip(values, groups)):
        share = f"  ({100 * min(group['least_microseconds'] / value, 1):.0f}%)" if value >= LEAST else ""
        left.annotate(f"{value:,.1f}{share}", (value, place), xytext=(4, 0),
                      textcoords="offset points", va="center", fontsize=8)
    left.invert_yaxis()
    left.margins(x=0.22)
    left.set_xlabel("microseconds a step (and how near to the limit)")
    left.legend(frameon=False, loc="lower right")
    left.set_title(title, loc="left", fontsize=10)
    for direction, marker in (("forward", "o"), ("reverse", "s")):
        some = [row for row in rows if row["direction"] == direction and row["microseconds"] >= LEAST]
        right.scatter([row["microseconds"] for row in some],
                      [100 * row["least_microseconds"] / row["microseconds"] for row in some], s=16, marker=marker,
                      alpha=0.6, label=direction)
    right.axhline(100, color="0.6", linewidth=1)
    right.set_xscale("log")
    right.set_ylim(0)
    right.set_xlabel("microseconds of an instruction")
    right.set_ylabel("per cent of the limit")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show."""
    parser = report.parser(__doc__)
    parser.add_argument("network", nargs="?", default="LeNet",
                        help=f"text in the name of one of: {'; '.join(NETWORKS)} (default LeNet)")
    parser.add_argument("--top", type=report.positive, default=30, help="instructions to show (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default %(default)s)")
    parser.add_argument("--threads", type=report.positive, default=2, help="of BLAS (default %(default)s)")
    arguments = parser.parse_args()
    chosen = [network for name, network in NETWORKS.items() if arguments.network.lower() in name.lower()]
    if not chosen:
        parser.error(f"no network's name contains {arguments.network!r}; there are {'; '.join(NETWORKS)}")
    report.set_threads(arguments.threads)
    limits = peaks(arguments.seconds)
    network = chosen[0]
    result = measure(network, arguments.seconds, limits)
    show(network.name, result, limits, arguments.top)
    if arguments.plot:
        plot(network.name, result, arguments.plot)
    report.finish(arguments, report.machine(threads=arguments.threads), {"network": network.name, "limits": limits,
                                                                         **result})


if __name__ == "__main__":
    main()
