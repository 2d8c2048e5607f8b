"""New tensors: constants, ranges, random numbers; copies, conversions and changes in place."""

import numpy as np
import pytest
import scipy.stats

import tapegrad as tg
from tapegrad import optim


@pytest.mark.parametrize("made, expected", [
    (lambda: tg.zeros(2, 3), np.zeros((2, 3), np.float32)), (lambda: tg.ones((2, 3)), np.ones((2, 3), np.float32)),
    (lambda: tg.zeros((2,), np.float64), np.zeros(2)), (lambda: tg.zeros(2, dtype="int64"), np.zeros(2, np.int64)),
    (lambda: tg.full((2,), 1.5), np.full(2, 1.5, np.float32)), (lambda: tg.full(2, 3), np.full(2, 3)),
    (lambda: tg.full((), True), np.full((), True)), (lambda: tg.arange(3), np.arange(3)),
    (lambda: tg.arange(0.0, 1.0, 0.25), np.arange(0.0, 1.0, 0.25, np.float32)), (lambda: tg.empty(0, 2).size(), (0, 2)),
    (lambda: tg.linspace(0, 1, 3, dtype="float64"), np.linspace(0, 1, 3)), (lambda: tg.eye(2), np.eye(2, dtype="f")),
    (lambda: np.zeros_like(tg.zeros(2)), np.zeros(2, np.float32)),
    (lambda: np.full_like(tg.eye(2), 2), np.full((2, 2), 2, "f")),
])  # fmt: skip
def test_constants_and_ranges(made, expected):
    found = np.asarray(made())
    assert found.dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(found, expected)


def test_a_new_tensor_may_be_a_leaf_and_a_device_is_the_cpu():
    w = tg.ones(3, requires_grad=True, device="cpu")
    (w * w).sum().backward()
    assert w.grad.tolist() == [2.0, 2.0, 2.0]
    for call in (lambda: tg.zeros(2, device="cuda"), lambda: w.to("cuda:0"), lambda: tg.rand(2, device="mps")):
        with pytest.raises(tg.ArgumentError, match="CPUs"):
            call()


# ------------------------------------------------------------------ random

DRAWS = {
    "rand": lambda: tg.rand(50, 80), "rand in float64": lambda: tg.rand((50, 80), dtype="float64"),
    "randn": lambda: tg.randn(4000), "randn in float64": lambda: tg.randn(4000, dtype="float64"),
    "normal": lambda: tg.normal(2.0, 3.0, (4000,)),
    "normal of arrays": lambda: tg.normal(tg.zeros(4000), tg.ones(4000)),
    "rand_like": lambda: tg.rand_like(tg.zeros(4000)), "randn_like": lambda: tg.randn_like(tg.zeros(4000)),
}  # fmt: skip
LAWS = {"rand": scipy.stats.uniform(), "randn": scipy.stats.norm(), "normal": scipy.stats.norm(2, 3)}


@pytest.mark.parametrize("name", DRAWS)
def test_random_numbers_have_their_distribution(name):
    law = LAWS[name.split(" ")[0].split("_")[0] if name != "normal of arrays" else "randn"]
    x = DRAWS[name]()
    assert x.dtype == ("float64" if "float64" in name else "float32")
    assert scipy.stats.kstest(x.numpy().ravel(), law.cdf).pvalue > 1e-3


def test_integers_and_permutations_are_even():
    counts = np.bincount(tg.randint(2, 7, (5000,)).numpy(), minlength=7)
    assert counts[:2].tolist() == [0, 0] and scipy.stats.chisquare(counts[2:]).pvalue > 1e-3
    assert tg.randint(3, (2, 2)).dtype == np.int64 and tg.randint(3, size=(2,), dtype="float32").dtype == np.float32
    assert tg.randint(-5, -4, (3,)).tolist() == [-5] * 3
    orders = [tuple(tg.randperm(3).tolist()) for _ in range(1200)]
    assert scipy.stats.chisquare([orders.count(order) for order in sorted(set(orders))]).pvalue > 1e-3
    assert len(set(orders)) == 6 and sorted(tg.randperm(100).tolist()) == list(range(100))
    assert 0.26 < float(tg.bernoulli(tg.full((5000,), 0.3)).mean()) < 0.34
    assert tg.bernoulli(tg.tensor([0.0, 1.0])).tolist() == [0.0, 1.0]


def test_the_seed_decides_and_no_two_draws_are_the_same():
    tg.manual_seed(3)
    first = [tg.rand(4), tg.rand(4), tg.randn(4), tg.randperm(9)]
    tg.manual_seed(3)
    again = [tg.rand(4), tg.rand(4), tg.randn(4), tg.randperm(9)]
    assert all(a.equal(b) for a, b in zip(first, again)) and not first[0].equal(first[1])


@pytest.mark.parametrize("draw", [lambda: tg.rand(5), lambda: tg.randn(5), lambda: tg.bernoulli(tg.full((5,), 0.5)),
                                  lambda: tg.randint(0, 1000, (5,)).float(), lambda: tg.randperm(5).float()])
def test_a_recording_draws_anew_at_each_replay(draw):
    f = tg.compile(lambda x: x + draw())
    tg.manual_seed(1)
    several = [np.asarray(f(np.zeros(5, np.float32))) for _ in range(8)]
    assert len({a.tobytes() for a in several}) > 2
    tg.manual_seed(1)
    np.testing.assert_array_equal(np.asarray(f(np.zeros(5, np.float32))), several[0])


def test_each_of_a_batch_and_both_draws_of_a_recording_have_their_own_numbers():
    x = np.asarray(tg.vmap(lambda x: x + tg.rand(2))(np.zeros((3, 2))))
    assert len(set(x.ravel().tolist())) == 6
    a, b = tg.compile(lambda x: (x + tg.rand(2), x + tg.rand(2)))(np.zeros(2, np.float32))
    assert not np.array_equal(np.asarray(a), np.asarray(b))


def test_noise_in_a_loss_is_constant_for_its_gradient():
    w = tg.tensor(np.zeros(3), requires_grad=True)
    step = tg.TrainStep(lambda: (w * tg.randn(3, dtype="float64")).sum(), optim.SGD([w], lr=1.0))
    step(), step()
    moved = w.numpy()
    assert np.all(moved != 0.0)
    mean, std = np.zeros(3), np.ones(3)
    tg.manual_seed(0)
    by_std = tg.grad(lambda std: tg.normal(mean, std).sum())(std)
    tg.manual_seed(0)
    np.testing.assert_allclose(by_std, tg.normal(tg.tensor(mean), tg.tensor(std)).numpy())


def test_a_recording_of_one_dtype_draws_no_other():
    w = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(tg.DtypeError, match="test_creation.py.*rand.*float32, not float64"):
        tg.TrainStep(lambda: (w * tg.rand(1, dtype="float64")).sum(), optim.SGD([w], lr=1.0))()
    found = tg.compile(lambda x: x + tg.rand(2, dtype="float64"))(np.zeros(2, np.float32))
    assert found.dtype == np.float64


@pytest.mark.parametrize("call", [lambda: tg.rand(-1), lambda: tg.rand(2.5), lambda: tg.randint(3, 3, (2,)),
                                  lambda: tg.randint(-(2**62), 2**62, (2,)),
                                  lambda: tg.normal(0.0, -1.0, (2,)), lambda: tg.randint(5), lambda: tg.randperm(-1)])
def test_arguments_that_do_not_fit_are_named(call):
    with pytest.raises(tg.ArgumentError):
        call()


# ------------------------------------------------------------------ copies and changes in place


def test_a_clone_has_its_own_memory_and_its_history():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x.clone() * 3.0).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    y = tg.tensor([1.0, 2.0])
    z = y.clone()
    z.zero_()
    assert y.tolist() == [1.0, 2.0] and z.tolist() == [0.0, 0.0]


def test_methods_in_place_change_what_is_not_recorded():
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.add_(1.0) is x and x.tolist() == [[2.0, 3.0], [4.0, 5.0]]
    x[0].mul_(2.0)
    assert x.tolist() == [[4.0, 6.0], [4.0, 5.0]]
    x.masked_fill_(x > 5, 0.0).clamp_(max=4.0).fill_(7)
    assert x.tolist() == [[7.0, 7.0], [7.0, 7.0]]
    w = tg.tensor([1.0], requires_grad=True)
    with tg.no_grad():
        w.sub_(0.5)
    assert w.tolist() == [0.5] and w.requires_grad


@pytest.mark.parametrize("change", [lambda w: w.add_(1.0), lambda w: tg.zeros(1).add_(w), lambda w: (w * 2.0).zero_(),
                                    lambda w: tg.compile(lambda x: x.add_(1.0))(np.ones(1))])
def test_a_change_in_place_of_what_is_recorded_says_what_to_write(change):
    with pytest.raises(tg.errors.InPlaceError, match="test_creation.py.*write x = x"):
        change(tg.tensor([1.0], requires_grad=True))


def test_a_change_in_place_does_not_change_the_shape():
    with pytest.raises(tg.ShapeError, match=r"add_.*\[2\].*\[1\]"):
        tg.zeros(1).add_(tg.zeros(2))


def test_integers_stay_integers_and_keep_their_digits():
    big = tg.tensor([2**53 + 1, -7])
    assert (big + 1).tolist() == tg.add(big, 1).tolist() == big.add(1).tolist() == [2**53 + 2, -6]
    assert (big // 2).tolist() == [2**52, -4] and (big % 4).tolist() == [1, 1]
    assert abs(big).tolist() == [2**53 + 1, 7] and big.clamp(0, 5).tolist() == [5, 0]
    assert big.clamp(0, 5).dtype == np.int64 and (big * 0.5).dtype == np.float32


@pytest.mark.parametrize("compiled", [False, True])
def test_conversions_within_a_recording(compiled):
    def f(x):
        return x.long().float() + x.bool().long().float() + (x > 1).long() * x

    x = np.array([0.0, 1.7, -2.9], np.float32)
    found = (tg.compile(f) if compiled else lambda x: f(tg.tensor(x)))(x)
    np.testing.assert_allclose(np.asarray(found), np.trunc(x) + (x != 0) + (x > 1) * x, rtol=1e-6)


def test_python_s_operators():
    x = tg.tensor([[5.5, -5.5]])
    assert (x // 2).tolist() == [[2.0, -3.0]] and (x % 2).tolist() == [[1.5, 0.5]]
    assert (7 // x).tolist() == [[1.0, -2.0]] and (7 % x).tolist() == [[1.5, -4.0]]
    assert [p.tolist() for p in divmod(x, 2)] == [[[2.0, -3.0]], [[1.5, 0.5]]]
    assert round(x).tolist() == [[6.0, -6.0]] and round(x / 3, 1).tolist() == [[np.float32(1.8), np.float32(-1.8)]]
    assert x.size() == (1, 2) and x.size == 2 and x.size(1) == 2 and np.size(x) == 2


@pytest.mark.parametrize("call, mine", [
    (lambda a: np.tile(a, (2, 1, 2)), lambda t: t.tile(2, 1, 2)),
    (lambda a: np.repeat(a, 3, 1), lambda t: t.repeat(3, axis=1)),
    (lambda a: np.repeat(a, [1, 2], 0), lambda t: tg.repeat(t, [1, 2], 0)),
    (lambda a: np.repeat(a, 2), lambda t: t.repeat(2)),
    (lambda a: np.round(a, 1), lambda t: t.round(1)), (lambda a: np.fix(a), tg.fix), (np.degrees, tg.rad2deg),
    (lambda a: np.divmod(a, 0.7)[1], lambda t: tg.divmod(t, 0.7)[1]), (np.nan_to_num, tg.nan_to_num)])  # fmt: skip
def test_numpy_s_functions_of_tensors(call, mine):
    a = np.array([[1.26, -2.5, 0.5], [3.1, np.pi, 9.0]])
    t = tg.tensor(a)
    for found in (call(t), mine(t)):
        np.testing.assert_allclose(found.numpy(), call(a), rtol=1e-14)


def test_two_numbers_of_repeat_may_mean_either_and_raise():
    with pytest.raises(tg.ArgumentError, match=r"repeat\(2, axis=1\) or tile"):
        tg.eye(2).repeat(2, 1)


def test_reductions_of_integers_keep_their_digits():
    x = np.array([[2**53 + 1, 2, -3], [4, 0, 1]])
    t = tg.tensor(x)
    for name in ("sum", "prod", "max", "min", "cumsum", "cumprod"):
        found = getattr(t, name)(axis=1)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found.numpy(), getattr(np, name)(x, axis=1))
    assert (t > 1).sum().item() == 3 and (t > 1).sum().dtype == np.int64
    assert t.max(dim=1).values.tolist() == [2**53 + 1, 4]
    assert tg.compile(lambda a: (a > 1).sum() + a.sum())(np.ones(3)) == 3.0
    with pytest.raises(tg.ShapeError, match="no elements"):
        tg.tensor(np.zeros((0, 2), int)).max(0)
