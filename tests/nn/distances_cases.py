"""The grid of norms, distances and metric losses that are held against PyTorch."""

from __future__ import annotations

from itertools import product

import numpy as np

from .parity_cases import REDUCTIONS, Case, _case, _draw

POWERS = (1.0, 1.5, 2.0, 3.0, np.inf)


def distances() -> list[Case]:
    """Norms, normalisation, cosines, distances of pairs and of all pairs."""
    cases = []
    x = _draw(1, 3, 4, 5)
    for p, dim in product((0.5, *POWERS, -np.inf, -2.0), (0, -1)):
        cases.append(_case("vector_norm", {"x": x}, {"ord": p, "dim": dim}, peer="linalg.vector_norm"))
    cases.append(_case("vector_norm", {"x": x}, {"dim": (0, 2), "keepdim": True}, peer="linalg.vector_norm"))
    zeros = np.where(np.arange(5) < 2, x, 0.0) * (np.arange(4) > 0)[:, None]
    for p in (0.5, 1.0, 2.0, 3.0, np.inf):
        cases.append(_case("vector_norm", {"x": zeros}, {"ord": p, "dim": -1}, " zeros", peer="linalg.vector_norm"))
    for p, axes in product(("fro", 1, -1, np.inf, -np.inf), ((0, 1), (2, 0))):
        cases.append(_case("norm", {"x": x}, {"ord": p, "dim": axes}, peer="linalg.norm"))
    for p, dim in product((1.0, 2.0, 3.0, np.inf), (0, 1)):
        cases.append(_case("normalize", {"input": _draw(2, 3, 4)}, {"p": p, "dim": dim}))
    cases.append(_case("normalize", {"input": zeros}, {"dim": -1}, " zeros"))
    for shapes, dim in product((((3, 4), (3, 4)), ((2, 1, 4), (3, 4))), (-1, 1)):
        arrays = {"x1": _draw(3, *shapes[0]), "x2": _draw(4, *shapes[1])}
        cases.append(_case("cosine_similarity", arrays, {"dim": dim}))
    for p, keep in product((1.0, 2.0, 3.0, np.inf), (False, True)):
        arrays = {"x1": _draw(5, 3, 4), "x2": _draw(6, 3, 4)}
        cases.append(_case("pairwise_distance", arrays, {"p": p, "keepdim": keep}))
    cases.append(_case("pairwise_distance", {"x1": _draw(7, 3, 4), "x2": _draw(8, 4)}, {"eps": 0.1}))
    for p in POWERS:
        cases.append(_case("cdist", {"x1": _draw(9, 4, 3), "x2": _draw(10, 5, 3)}, {"p": p}, peer="cdist"))
        cases.append(_case("pdist", {"input": _draw(13, 5, 3)}, {"p": p}))
    cases.append(_case("cdist", {"x1": _draw(11, 2, 1, 4, 3), "x2": _draw(12, 3, 2, 3)}, {}, peer="cdist"))
    return cases


def losses() -> list[Case]:
    """Triplets, rankings, hinges and cosines, and their modules."""
    cases = []
    triplet = {"anchor": _draw(21, 5, 3), "positive": _draw(22, 5, 3), "negative": _draw(23, 5, 3)}
    for reduction, swap, p in product(REDUCTIONS, (False, True), (1.0, 2.0)):
        options = {"margin": 0.7, "p": p, "swap": swap, "reduction": reduction}
        cases.append(_case("triplet_margin_loss", triplet, options))
    options = {"margin": 2.0, "swap": True}
    cases.append(_case("TripletMarginLoss", triplet, {}, f" {options}", module=options))
    cases.append(_case("triplet_margin_with_distance_loss", triplet, {"margin": 0.3}))
    one = {name: array[0] for name, array in triplet.items()}
    cases.append(_case("triplet_margin_loss", one, {"eps": 0.01}, " single"))
    sign = np.array([1, -1, -1, 1, -1])
    pairs = {"input1": _draw(24, 5, 3), "input2": _draw(25, 5, 3)}
    rank = {"input1": _draw(26, 5), "input2": _draw(27, 5)}
    hinge = {"input": np.abs(_draw(28, 5, 2)), "target": np.stack([sign, -sign], 1)}
    for reduction, margin in product(REDUCTIONS, (0.0, 0.4)):
        options = {"margin": margin, "reduction": reduction}
        cases.append(_case("cosine_embedding_loss", {**pairs, "target": sign}, options))
        cases.append(_case("margin_ranking_loss", {**rank, "target": sign}, options))
        cases.append(_case("hinge_embedding_loss", hinge, options))
    module = {"margin": 0.2}
    cases.append(_case("CosineEmbeddingLoss", {**pairs, "target": sign}, {}, f" {module}", module=module))
    cases.append(_case("MarginRankingLoss", {**rank, "target": sign}, {}, f" {module}", module=module))
    cases.append(_case("HingeEmbeddingLoss", hinge, {}, f" {module}", module=module))
    cases.append(_case("CosineSimilarity", {"x1": _draw(3, 3, 4), "x2": _draw(4, 3, 4)}, {}, module={"dim": 0}))
    cases.append(_case("PairwiseDistance", {"x1": _draw(5, 3, 4), "x2": _draw(6, 3, 4)}, {}, module={"p": 3.0}))
    return cases


CASES = [*distances(), *losses()]
