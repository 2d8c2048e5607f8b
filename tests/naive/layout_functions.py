"""Views, joins and gathering on the plain-Python tape, under tapegrad's names."""

from __future__ import annotations

import numpy as np

from .elementwise_functions import add, mean, multiply, where
from .elementwise_functions import sum as sum_over
from .tape import Var, as_var, decided, scattered, unbroadcast

# ------------------------------------------------------------------ layout


def _takes_once(key):
    """Whether a key is of slices and numbers, so that no element comes twice."""
    return not any(isinstance(k, np.ndarray | list) for k in (key if isinstance(key, tuple) else (key,)))


def index(a, key):
    """``a[key]``; equal indices add up."""
    a = as_var(a)

    def back(g):
        if not _takes_once(key):
            return scattered(a.shape, key, g)
        whole = np.zeros(a.shape)
        whole[key] = g
        return whole

    return Var(a.value[key], [(a, back)], exact=True)


def broadcast_to(a, shape):
    a = as_var(a)
    return Var(np.broadcast_to(a.value, shape), [(a, lambda g: unbroadcast(g, a.value.shape))], exact=True)


def reshape(a, shape):
    a = as_var(a)
    return Var(a.value.reshape(shape), [(a, lambda g: g.reshape(a.value.shape))], exact=True)


def permute(a, axes):
    a = as_var(a)
    return Var(np.transpose(a.value, axes), [(a, lambda g: np.transpose(g, np.argsort(axes)))], exact=True)


def transpose(a):
    return permute(a, tuple(reversed(range(as_var(a).value.ndim))))


def swapaxes(a, i, j):
    order = list(range(as_var(a).value.ndim))
    order[i], order[j] = order[j], order[i]
    return permute(a, tuple(order))


def moveaxis(a, source, destination):
    order = list(range(as_var(a).value.ndim))
    axis = order.pop(source)
    order.insert(destination % (len(order) + 1), axis)
    return permute(a, tuple(order))


def flip(a, axis):
    a = as_var(a)
    return Var(np.flip(a.value, axis), [(a, lambda g: np.flip(g, axis))], exact=True)


def expand_dims(a, axis):
    return reshape(a, np.expand_dims(as_var(a).value, axis).shape)


def squeeze(a, axis):
    return reshape(a, np.squeeze(as_var(a).value, axis).shape)


def ravel(a):
    return reshape(a, (-1,))


def split(a, sections, axis=0):
    extent = as_var(a).shape[axis]
    cuts = [extent // sections * k for k in range(sections)] if isinstance(sections, int) else [0, *sections]
    lead = (slice(None),) * (axis % as_var(a).value.ndim)
    return [index(a, (*lead, slice(first, last))) for first, last in zip(cuts, [*cuts[1:], extent])]


def diagonal(a):
    n = min(as_var(a).shape[:2])
    return moveaxis(index(a, (np.arange(n), np.arange(n))), 0, -1)


def concatenate(parts, axis=0):
    parts = [as_var(p) for p in parts]
    edges = np.cumsum([0] + [p.value.shape[axis] for p in parts])

    def share_of(k):
        return lambda g: np.take(g, np.arange(edges[k], edges[k + 1]), axis=axis)

    value = np.concatenate([p.value for p in parts], axis)
    return Var(value, [(p, share_of(k)) for k, p in enumerate(parts)], exact=True)


def stack(parts, axis=0):
    return concatenate([expand_dims(p, axis) for p in parts], axis)


def pad(a, pad_width, mode="constant"):
    a = as_var(a)
    places = np.pad(np.arange(a.value.size).reshape(a.shape), pad_width, mode=mode,
                    **({"constant_values": -1} if mode == "constant" else {}))
    taken = index(ravel(a), np.maximum(places, 0))
    return where(places >= 0, taken, 0.0)


def tril(a, k=0):
    return multiply(a, np.tril(np.ones(as_var(a).shape), k))


def triu(a, k=0):
    return multiply(a, np.triu(np.ones(as_var(a).shape), k))


# ------------------------------------------------------------------ gathering


def whole(x):
    """An index or mask as an array."""
    return np.asarray(x.value if isinstance(x, Var) else x).astype(np.int64)


def take(a, indices, axis):
    lead = (slice(None),) * (axis % as_var(a).value.ndim)
    return index(a, (*lead, whole(indices)))


def index_select(a, dim, indices):
    return take(a, indices, dim)


def _along(indices, axis):
    """`indices` as a full index of an array, along one axis."""
    key = list(np.indices(indices.shape, sparse=True))
    key[axis] = indices
    return tuple(key)


def take_along_axis(a, indices, axis):
    return index(a, _along(whole(indices), axis))


def gather(a, dim, indices):
    return index(a, _along(whole(indices), dim))


def scatter_add(a, dim, indices, source):
    source, key = as_var(source), _along(whole(indices), dim)
    within = tuple(slice(0, n) for n in np.shape(whole(indices)))
    part = index(source, within)
    return add(a, Var(scattered(as_var(a).shape, key, part.value), [(part, lambda g: g[key])]))


def index_add(a, dim, indices, source):
    source = as_var(source)
    key = (*(slice(None),) * dim, whole(indices))
    return add(a, Var(scattered(as_var(a).shape, key, source.value), [(source, lambda g: g[key])]))


def set_at(a, key, value):
    """``a.at[key].set(value)``, no index twice."""
    a, value = as_var(a), as_var(value)
    result = np.array(a.value)
    result[key] = value.value

    def rest(g):
        kept = np.array(g)
        kept[key] = 0.0
        return kept

    return Var(result, [(a, rest), (value, lambda g: unbroadcast(g[key], value.shape))], exact=True)


def add_at(a, key, value):
    """``a.at[key].add(value)``."""
    a, value = as_var(a), as_var(value)
    result = a.value + scattered(a.shape, key, value.value)
    return Var(result, [(a, lambda g: g), (value, lambda g: unbroadcast(g[key], value.shape))])


def sort(a, axis=-1, descending=False):
    x = as_var(a).value
    return take_along_axis(a, decided(np.argsort(-x if descending else x, axis=axis, kind="stable")), axis)


def topk(a, k, dim=-1, largest=True):
    x = as_var(a).value
    order = np.argsort(-x if largest else x, axis=dim, kind="stable")
    order = decided(np.take(order, np.arange(k), axis=dim))
    return take_along_axis(a, order, dim), order


def embedding(indices, weight, padding_idx=None, sparse=False):
    table = as_var(weight)
    if padding_idx is not None:
        held = np.ones(table.shape)
        held[padding_idx] = 0.0
        value = table.value
        table = Var(value, [(table, lambda g: g * held)], exact=True)
    return index(table, whole(indices))


def embedding_bag(indices, weight, mode="mean", per_sample_weights=None):
    rows = index(as_var(weight), whole(indices))
    if per_sample_weights is not None:
        rows = multiply(rows, expand_dims(per_sample_weights, -1))
    if mode == "max":
        places = decided(np.argmax(rows.value, axis=1))
        return squeeze(take_along_axis(rows, places[:, None], 1), 1)
    return sum_over(rows, 1) if mode == "sum" else mean(rows, 1)
