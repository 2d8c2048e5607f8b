"""The library's random streams."""

import threading

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.engine import random


def test_the_same_seed_gives_the_same_bits():
    tg.manual_seed(7)
    first = random.generator().standard_normal(5), random.dropout_key()
    tg.manual_seed(7)
    second = random.generator().standard_normal(5), random.dropout_key()
    assert np.array_equal(first[0], second[0]) and first[1] == second[1]
    tg.manual_seed(8)
    assert not np.array_equal(random.generator().standard_normal(5), first[0])
    assert random.dropout_key()[0] != first[1][0]


def test_drawing_weights_leaves_the_dropout_stream_alone_and_the_other_way_round():
    tg.manual_seed(1)
    keys = [random.dropout_key() for _ in range(3)]
    weights = nn.Linear(3, 3).weight.numpy()
    tg.manual_seed(1)
    assert np.array_equal(nn.Linear(3, 3).weight.numpy(), weights)
    assert [random.dropout_key() for _ in range(3)] == keys


def test_keys_count_up_and_fit_a_signed_word():
    tg.manual_seed(2)
    keys = [random.dropout_key() for _ in range(4)]
    assert [counter for _, counter in keys] == [0, 1, 2, 3]
    assert len({seed for seed, _ in keys}) == 1 and 0 <= keys[0][0] < 2**63


def test_threads_never_get_the_same_key():
    tg.manual_seed(3)
    found: list[tuple[int, int]] = []
    threads = [
        threading.Thread(target=lambda: found.extend(random.dropout_key() for _ in range(500)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 4000


def test_the_generator_is_philox():
    assert isinstance(random.generator().bit_generator, np.random.Philox)


def test_seed_takes_entropy_and_tells_it():
    number = random.seed()
    draws = random.generator().standard_normal(3)
    assert number != random.seed()
    tg.manual_seed(number)
    assert random.initial_seed() == number
    assert np.array_equal(random.generator().standard_normal(3), draws)


@pytest.mark.parametrize("number", [0, 2**64 - 1, -(2**63), np.int64(5), np.uint8(3)])
def test_seeds_of_64_bits_are_taken(number):
    tg.manual_seed(number)
    assert random.initial_seed() == int(number) % 2**64


@pytest.mark.parametrize("number", [1.5, "7", None, True, 2**64, -(2**63) - 1])
def test_other_seeds_are_refused(number):
    before = random.initial_seed()
    with pytest.raises(ValueError, match="manual_seed"):
        tg.manual_seed(number)
    assert random.initial_seed() == before
