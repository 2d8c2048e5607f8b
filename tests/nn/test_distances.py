"""Distances and metric losses: formulas without a counterpart in PyTorch, recorded steps, edges and errors."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn
from tapegrad.errors import ArgumentError, ShapeError

RNG = np.random.default_rng


def draw(seed, *shape):
    return RNG(seed).standard_normal(shape)


def contrastive(a, b, target, margin):
    d = np.linalg.norm(a - b + 1e-6, axis=1)
    return np.where(target == 0, d**2, np.maximum(margin - d, 0.0) ** 2) / 2


def nt_xent(a, b, temperature):
    z = np.concatenate((a, b))
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    n = len(a)
    losses = []
    for i in range(2 * n):
        scores = np.exp(z @ z[i] / temperature)
        losses.append(-np.log(scores[(i + n) % (2 * n)] / (scores.sum() - scores[i])))
    return np.array(losses)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_contrastive_and_nt_xent_are_their_papers_formulas(reduction):
    a, b, target = draw(1, 6, 3), draw(2, 6, 3), np.array([0, 1, 1, 0, 1, 0])
    reduce = {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction]
    found = nn.ContrastiveLoss(2.0, reduction=reduction)(a, b, target)
    np.testing.assert_allclose(found.numpy(), reduce(contrastive(a, b, target, 2.0)), rtol=1e-12)
    found = nn.NTXentLoss(0.3, reduction=reduction)(a, b)
    np.testing.assert_allclose(found.numpy(), reduce(nt_xent(a, b, 0.3)), rtol=1e-12)


def losses(target):
    """By name: a loss of two batches of embeddings."""
    return {
        "contrastive": lambda a, b, t: F.contrastive_loss(a, b, (t + 1) * 0.5, 2.0),
        "nt_xent": lambda a, b, t: F.nt_xent_loss(a, b),
        "triplet": lambda a, b, t: F.triplet_margin_loss(a, b, a[::-1], swap=True),
        "cosine": lambda a, b, t: F.cosine_embedding_loss(a, b, t, 0.1),
        "ranking": lambda a, b, t: F.margin_ranking_loss(a[:, 0], b[:, 0], t, 0.5),
        "hinge": lambda a, b, t: F.hinge_embedding_loss(F.pairwise_distance(a, b), t, 3.0),
        "cdist": lambda a, b, t: tg.cdist(a, b).sum() + F.pdist(a).mean() + F.cosine_similarity(a, b).sum(),
    }


@pytest.mark.parametrize("name", losses(None))
def test_gradients_and_recorded_targets_are_right(name):
    function = losses(None)[name]
    a, b = draw(3, 5, 4), draw(4, 5, 4)
    for sign in (np.array([1, -1, 1, 1, -1]), np.array([-1, -1, 1, -1, 1])):
        tg.gradcheck(lambda x, y, t=sign: function(x, y, t), a, b)
    recorded = tg.compile(tg.value_and_grad(function, argnums=(0, 1)))
    for seed in (5, 6):
        sign = RNG(seed).choice([-1, 1], 5)
        x, y = draw(seed, 5, 4), draw(seed + 10, 5, 4)
        leaves = [tg.tensor(v, requires_grad=True) for v in (x, y)]
        loss = function(*leaves, sign)
        loss.backward()
        value, gradients = recorded(x, y, sign)
        assert value == pytest.approx(loss.item(), rel=1e-13)
        for leaf, gradient in zip(leaves, gradients):
            np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.compiled
def test_embeddings_learned_with_triplets_come_to_separate_classes():
    rng = RNG(7)
    centres = rng.standard_normal((3, 8))
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    step = tg.TrainStep(lambda a, p, n: F.triplet_margin_loss(model(a), model(p), model(n)),
                        tg.optim.Adam(model.parameters(), lr=0.02))
    for _ in range(200):
        label = rng.integers(0, 3, 32)
        other = (label + rng.integers(1, 3, 32)) % 3
        points = [centres[k] + 0.3 * rng.standard_normal((32, 8)) for k in (label, label, other)]
        last = step(*[p.astype(np.float32) for p in points])
    assert last < 0.1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_points_and_zeros_have_finite_gradients(dtype):
    x = tg.tensor(np.zeros((2, 3), dtype), requires_grad=True)
    y = tg.tensor(np.zeros((2, 3), dtype), requires_grad=True)
    total = (F.normalize(x).sum() + F.cosine_similarity(x, y).sum() + F.pairwise_distance(x, y).sum()
             + F.triplet_margin_loss(x, y, y) + F.cosine_embedding_loss(x, y, [1, -1])
             + F.contrastive_loss(x, y, [0, 1]))
    total.backward()
    assert np.isfinite(float(total)) and np.isfinite(x.grad.numpy()).all() and np.isfinite(y.grad.numpy()).all()


@pytest.mark.parametrize(("shapes", "dim"), [(((3,), (2, 3)), 1), (((3,), (3, 3)), 0), (((2, 1), (3,)), -1)])
def test_cosine_similarity_broadcasts_before_it_takes_norms(shapes, dim):
    a, b = draw(8, *shapes[0]), draw(9, *shapes[1])
    u, v = np.broadcast_arrays(a, b)
    want = (u * v).sum(dim) / np.linalg.norm(u, axis=dim) / np.linalg.norm(v, axis=dim)
    np.testing.assert_allclose(F.cosine_similarity(a, b, dim).numpy(), want, rtol=1e-12)


def test_arguments_that_do_not_fit_are_named():
    x = np.ones((4, 3))
    with pytest.raises(ShapeError, match=r"triplet_margin_loss.*\[4, 3\], \[4, 3\], \[3\]"):
        F.triplet_margin_loss(x, x, x[0])
    with pytest.raises(ArgumentError, match="margin must be positive, got 0"):
        F.triplet_margin_loss(x, x, x, margin=0)
    with pytest.raises(ShapeError, match=r"cosine_embedding_loss.*\[4, 3\].*\[3\]"):
        F.cosine_embedding_loss(x, x, np.ones(3))
    with pytest.raises(ShapeError, match=r"margin_ranking_loss.*\[4\], \[4\], \[4, 1\]"):
        F.margin_ranking_loss(x[:, 0], x[:, 0], x[:, :1])
    with pytest.raises(ShapeError, match=r"hinge_embedding_loss.*\[4, 3\].*\[4\]"):
        F.hinge_embedding_loss(x, np.ones(4))
    with pytest.raises(ShapeError, match=r"nt_xent_loss.*\[4, 3\].*\[3\]"):
        F.nt_xent_loss(x, x[0])
    with pytest.raises(ShapeError, match=r"pairwise_distance|subtract"):
        F.pairwise_distance(x, np.ones((4, 2)))
    with pytest.raises(ArgumentError, match="reduction"):
        nn.TripletMarginLoss(reduction="max")
