"""Placement in an arena, against the rule written out: the largest first, each in the tightest gap."""

import numpy as np
import pytest

from tapegrad.program.planning.placement import lower_bound, place


def placed_by_rule(sizes, births, deaths):
    offsets = {}
    for k in sorted(range(len(sizes)), key=lambda k: (-sizes[k], births[k], k)):
        alive = sorted((offsets[m], sizes[m]) for m in offsets if births[m] <= deaths[k] and births[k] <= deaths[m])
        gaps, end = [], 0
        for offset, size in alive:
            if offset - end >= sizes[k]:
                gaps.append((offset - end, end))
            end = max(end, offset + size)
        offsets[k] = min(gaps)[1] if gaps else end
    return [offsets[k] for k in range(len(sizes))], max((offsets[k] + sizes[k] for k in offsets), default=0)


def drawn(seed):
    """Buffers of few sizes, so that many are equal; lives of all lengths, nested ones among them."""
    rng = np.random.default_rng(seed)
    count, end = int(rng.integers(1, 200)), int(rng.integers(1, 120))
    sizes = 64 * rng.choice(rng.integers(1, 9, int(rng.integers(1, 5))), count)
    births = rng.integers(0, end, count)
    short, nested = births + rng.geometric(rng.choice([0.5, 0.1]), count), 2 * end - births
    return sizes, births, np.where(rng.random(count) < rng.random(), nested, short)


@pytest.mark.parametrize("many", [0, 1000])
@pytest.mark.parametrize("seed", range(60))
def test_each_buffer_lies_where_the_rule_puts_it(seed, many):
    sizes, births, deaths = drawn(seed)
    offsets, total = place(sizes, births, deaths, many)
    expected, expected_total = placed_by_rule(*(a.tolist() for a in (sizes, births, deaths)))
    assert offsets.tolist() == expected
    assert total == expected_total >= lower_bound(sizes, births, deaths)


@pytest.mark.parametrize("many", [0, 1000])
def test_nothing_takes_no_bytes(many):
    none = np.empty(0, np.int64)
    offsets, total = place(none, none, none, many)
    assert len(offsets) == total == 0


def test_buffers_that_live_one_after_another_share_bytes():
    offsets, total = place(np.full(5, 64), np.arange(5) * 2, np.arange(5) * 2 + 1)
    assert offsets.tolist() == [0] * 5 and total == 64
