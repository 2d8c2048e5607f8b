"""Which gradients are sent together, and when that is predicted to end."""

import itertools

import numpy as np
import pytest

from tapegrad.program.ranks.schedule import Network, buckets_within, chosen_buckets, planned, predicted

WIRE = Network(latency=50e-6, bandwidth=1e9, hidden=1.0, overhead=2e-6)


def test_sums_wait_for_each_other_and_for_their_gradients():
    link = Network(latency=1.0, bandwidth=10.0, hidden=1.0, overhead=0.0)
    sent, walk, end = predicted(link, [2.0, 3.0, 9.0], [50.0, 10.0, 20.0], 9.0)
    assert [(s.begun, s.ended) for s in sent] == [(2.0, 8.0), (8.0, 10.0), (10.0, 13.0)]
    assert (walk, end) == (9.0, 13.0)


def test_what_is_not_hidden_stops_the_walk():
    link = Network(latency=1.0, bandwidth=10.0, hidden=0.0, overhead=0.5)
    sent, walk, end = predicted(link, [2.0, 9.0], [50.0, 10.0], 9.0)
    assert (walk, end) == (9.0 + 6.5 + 0.5, 9.0 + 6.5 + 2.5)
    assert sent[1].begun == 15.5


def test_chosen_buckets_are_as_good_as_the_best_of_all_partitions():
    rng = np.random.default_rng(7)
    for _ in range(20):
        ends = np.sort(rng.uniform(1e-4, 3e-3, 7))
        sizes = rng.integers(1_000, 600_000, 7)
        best = min(_end(WIRE, ends, sizes, np.cumsum([0, *cuts])) for cuts in itertools.product((0, 1), repeat=6))
        assert _end(WIRE, ends, sizes, chosen_buckets(WIRE, ends, sizes, ends[-1])) <= best * 1.011


def _end(network, ends, sizes, bucket_of):
    plan = planned(network, ends.tolist(), sizes.tolist(), ends[-1], None)
    return plan.timeline(bucket_of)[2]


def test_several_buckets_need_a_network_that_works_beside_the_processor():
    ends, sizes = [1e-3, 2e-3, 3e-3], [800_000, 800_000, 8_000]
    assert len(set(chosen_buckets(WIRE, ends, sizes, 3e-3))) > 1
    assert set(chosen_buckets(WIRE._replace(hidden=0.0), ends, sizes, 3e-3)) == {0}
    assert set(chosen_buckets(WIRE, ends, [40, 40, 40], 3e-3)) == {0}
    assert chosen_buckets(WIRE, [], [], 1e-3) == []


def test_thousands_of_parameters_are_planned_in_order():
    ends = np.linspace(9e-3, 1e-3, 3000)
    found = np.array(chosen_buckets(WIRE, ends, [4000] * 3000, 9e-3))
    assert (np.diff(found) <= 0).all() and 2 <= found.max() + 1 <= 8


@pytest.mark.parametrize("most, expected", [(100, [2, 1, 0, 0]), (1, [3, 2, 1, 0]), (1000, [0, 0, 0, 0])])
def test_buckets_within_a_limit_go_in_the_order_of_the_walk(most, expected):
    assert buckets_within(most, [4.0, 3.0, 2.0, 1.0], [40, 70, 20, 50]) == expected
