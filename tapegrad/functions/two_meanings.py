"""The names that mean two things (see `tongues`), of which the README's table is made; the tests run both spellings."""

from __future__ import annotations

from typing import NamedTuple


class Name(NamedTuple):
    """A name that means two things, of a matrix ``x`` of shape (2, 4) and a matrix ``y`` like it."""

    name: str
    numpys: str
    does: str
    pytorchs: str
    does_there: str


NAMES = [
    Name("max, min", "x.max(axis=1)", "the values", "x.max(dim=1)",
         "`(values, indices)`; the gradient flows to the first of several"),
    Name("sort", "x.sort(axis=1)", "a sorted copy, with `descending=` too", "x.sort(dim=1)", "`(values, indices)`"),
    Name("median", "tg.median(x, axis=1)", "mean of the middle two", "x.median(dim=1)",
         "`(values, indices)` of the lower of the middle two; `x.median()` too, of all"),
    Name("nanmedian", "tg.nanmedian(x, axis=1)", "mean of the middle two that are not NaN", "x.nanmedian(dim=1)",
         "`(values, indices)` of the lower of them; `x.nanmedian()` too, of all"),
    Name("var, std", "x.var(axis=1)", "over n", "x.var(dim=1)", "over n - 1; `unbiased=`, `correction=`"),
    Name("norm", "tg.norm(x, 1)", "of a matrix its norm", "x.norm(1)",
         "of all elements as a vector; so are `tg.norm(x, p=1)` and `x.norm(p=1, dim=1)`"),
    Name("split", "tg.split(x, [1, 3], axis=1)", "indices of the cuts; a number counts the parts",
         "x.split([1, 3], dim=1)", "extents of the parts; a number is the extent of each"),
    Name("squeeze", "x[:1].squeeze(axis=0)", "raises where the extent is not 1", "x.squeeze(dim=0)",
         "leaves it where the extent is not 1"),
    Name("transpose", "x.transpose((0, 1))", "all axes in an order", "x.transpose(0, 1)", "two axes swapped"),
    Name("sum, mean, amax, amin", "x.sum(axis=())", "over no axis", "x.sum(dim=())", "over all"),
    Name("equal", "tg.equal(x, y)", "element by element", "x.equal(y)", "one `bool`"),
    Name("pad", "tg.pad(x, (1, 2))", "before and behind every axis", "F.pad(x, (1, 2))",
         "before and behind the last axis"),
    Name("repeat", "x.repeat(2, axis=0)", "each slice, or element, so many times", "x.repeat(1, 2, 1)",
         "the whole along each axis, given three numbers or more; two might mean either and raise: `x.tile((2, 1))`"),
    Name("nonzero", "x.nonzero()", "a tensor of indices for each axis", "x.nonzero(as_tuple=False)",
         "a matrix with a row for each, as `tg.argwhere(x)`"),
    Name("select", "tg.select([x > 0], [x], 1.0)", "by element the first whose condition holds", "x.select(1, 0)",
         "one slice along an axis"),
    Name("tril_indices, triu_indices", "tg.tril_indices(3)", "a pair of tensors", "tg.tril_indices(row=3, col=3)",
         "a matrix of two rows"),
    Name("gradient", "tg.gradient(x, axis=1)", "of one axis a tensor", "tg.gradient(x, dim=1)", "always a tuple"),
    Name("linalg.solve", "tg.linalg.solve(y.reshape(2, 2, 2), x[:, :2])", "a matrix, unless it has one axis",
         "tg.linalg.solve(y.reshape(2, 2, 2), x[:, :2], left=True)", "a batch of vectors, as its shape fits"),
    Name("size", "x.size", "the number of elements", "x.size()", "the shape"),
]


def table() -> str:
    """The names as Markdown."""
    rows = [f"| {n.name} | `{n.numpys}` | {n.does} | `{n.pytorchs}` | {n.does_there} |" for n in NAMES]
    return "\n".join(["| name | NumPy's | means | PyTorch's | means |", "| --- | --- | --- | --- | --- |", *rows])
