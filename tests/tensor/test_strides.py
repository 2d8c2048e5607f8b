"""Every op with every operand lying anyhow in memory: the same numbers as of contiguous copies.

The memory around a view holds numbers that would show: NaN among floats, and among integers ones out of range.
"""

import matrix_calls
import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad.errors import GradientError
from tapegrad.functions.apply import apply_binary, apply_unary
from tapegrad.functions.distances import pair_dots, pair_sums
from tapegrad.functions.embedding import spread_bags
from tapegrad.functions.gathering import gather_along
from tapegrad.functions.recurrence import gru_layer, lstm_layer, rnn_layer
from tapegrad.functions.reductions import exclusive_prod, linear_recurrence
from tapegrad.functions.seen import seen
from tapegrad.ops.elementwise import BINARY, UNARY
from tapegrad.ops.mapped import Mapped
from tapegrad.ops.table import OPS
from tapegrad.tensor.tensor import view as view_of


def floats(*shape, low=0.2, high=0.8):
    return np.random.default_rng(sum(shape) + len(shape)).uniform(low, high, shape)


def integers(below, *shape):
    return np.random.default_rng(below + len(shape)).integers(0, below, shape)


def bools(*shape):
    return np.random.default_rng(len(shape)).uniform(size=shape) < 0.6


def seeded(function):
    def call(*operands):
        tg.manual_seed(3)
        return function(*operands)

    return call


def doubled_forward(x, n, y):
    for k in range(x.size):
        y[k] = 2 * x[k] * n[k]


def doubled_adjoint(g, n, dx):
    for k in range(g.size):
        dx[k] += 2 * g[k] * n[k]


doubled = tg.custom_op(doubled_forward, doubled_adjoint)

M = floats(3, 4)
#: of the ops of one input and of two, whose kernels are each written by one template
ONE, TWO = ("copy", "exp", "relu", "clip", "power_constant"), ("add", "multiply", "divide", "maximum")

#: name, function, operands
CASES = {
    **{f"unary {n}": (lambda x, n=n: apply_unary(UNARY[n], x, 0.5, 2.0), M) for n in ONE},
    **{f"binary {n}": (lambda a, b, n=n: apply_binary(BINARY[n], a, b, 0.3), M, floats(4, low=0.1)) for n in TWO},
    **{f"compare {n}": (lambda a, b, n=n: getattr(tg, n)(a, b), M, floats(3, 1)) for n in ("less", "equal")},
    "where": (tg.where, bools(3, 4), M, floats(4)),
    "to bool": (lambda x: tg.where(x, 2.0 * x, 1.0), M),
    "sum": (lambda x: tg.sum(x, 0), M),
    "mean of all": (lambda x: tg.mean(x), M),
    **{f"rows {n} {a}": (lambda x, n=n, a=a: getattr(tg, n)(x, a), M) for a in (0, 1) for n in (
        "max", "min", "prod", "var", "std", "logsumexp", "softmax", "log_softmax", "cumsum", "cumprod", "logcumsumexp",
        "vector_norm")},
    "softmax of four": (lambda x: tg.softmax(x, 0), floats(4)),
    "broadcast": (lambda x: tg.broadcast_to(x, (2, 3, 4)), M),
    "reshape": (lambda x: tg.reshape(x, (2, 6)), M),
    "concatenate": (lambda a, b: tg.concatenate([a, b], 1), M, floats(3, 2)),
    "stack": (lambda a, b: tg.stack([a, b], 1), M, floats(3, 4, high=0.7)),
    "stack of numbers": (lambda a, b: tg.stack([a[0], b[0]]), floats(1), floats(1, high=0.7)),
    "pad": (lambda x: tg.pad(x, 1), M),
    "pad by reflection": (lambda x: tg.pad(x, 1, mode="reflect"), M),
    "take": (lambda x, i: tg.take(x, i, 1), M, integers(4, 2, 3)),
    "index": (lambda x, i, j: x[i, j], M, integers(3, 5), integers(4, 5)),
    "set": (lambda x, i, v: x.at[i].set(v), M, np.array([2, 0]), floats(2, 4)),
    "add at": (lambda x, i, v: x.at[i].add(v), M, np.array([2, 2, 0]), floats(3, 4, low=0.5)),
    "gather": (lambda x, i: tg.gather(x, 1, i), M, integers(4, 3, 2)),
    "take along": (lambda x, i: tg.take_along_axis(x, i, 0), M, integers(3, 2, 4)),
    "gather last": (lambda x, i: gather_along(x, 1, i, i.shape, False, True), M, integers(4, 3, 2)),
    "products of all but one": (exclusive_prod, M),
    "recurrence": (lambda a, x: linear_recurrence(a, x, True), M, floats(3, 4, low=0.1)),
    "incomplete gamma function": (tg.gammainc, floats(3, 4, low=0.5), floats(3, 4, low=0.1)),
    "incomplete beta function": (tg.betainc, floats(3, 4, low=0.5), floats(3, 4, low=0.5), floats(3, 4, low=0.1)),
    "scatter": (lambda x, i, s: tg.scatter(x, 1, i, s), M, integers(4, 3, 2), floats(3, 2)),
    "scatter add": (lambda x, i, s: tg.scatter_add(x, 0, i, s), M, integers(3, 2, 4), floats(2, 4)),
    "index add": (lambda x, i, s: tg.index_add(x, 0, i, s, alpha=2.0), M, integers(3, 2), floats(2, 4)),
    "sort": (lambda x: tg.sort(x, 0), M),
    "topk": (lambda x: tg.topk(x, 1, 0)[0], floats(5, 3)),
    "argsort": (lambda x: tg.take_along_axis(x, tg.argsort(x, 1), 1), M),
    "argmax": (lambda x: F.one_hot(tg.argmax(x, 0), 3) * x.sum() if not x.is_symbolic else x.sum(), M),
    "matmul": (tg.matmul, M, floats(4, 2)),
    **{name: (function, floats(3, 3)) for name, function in matrix_calls.OF_ONE.items()},
    **{name: (function, floats(3, 3), floats(3, 2)) for name, function in matrix_calls.OF_TWO.items()},
    "matmul of one row": (tg.matmul, floats(1, 4), floats(4, 2)),
    "matmul to one column": (tg.matmul, M, floats(4, 1)),
    "matmul of one number": (tg.matmul, floats(3, 1), floats(1, 2)),
    "matmul of stacks": (tg.matmul, floats(2, 3, 4), floats(4, 2)),
    "linear": (F.linear, M, floats(2, 4), floats(2)),
    "linear of one row": (F.linear, floats(1, 4), floats(2, 4), floats(2)),
    "linear to one": (F.linear, M, floats(1, 4), floats(1)),
    "linear of one": (F.linear, floats(3, 1), floats(2, 1), floats(2)),
    "einsum": (lambda a, b: tg.einsum("ij,kj->ki", a, b), M, floats(2, 4)),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1), floats(2, 2, 5, 4), floats(3, 2, 3, 2), floats(3)),
    "conv1d": (F.conv1d, floats(2, 2, 5), floats(3, 2, 1), floats(3)),
    "conv1d of one pixel": (F.conv1d, floats(1, 2, 1), floats(3, 2, 1), floats(3)),
    "conv_transpose2d": (lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2), floats(1, 2, 3, 3), floats(2, 3, 2, 2),
                         floats(3)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), floats(1, 2, 4, 5)),
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 2), floats(1, 2, 5)),
    "interpolate": (lambda x: F.interpolate(x, size=(5, 3), mode="bilinear"), floats(1, 2, 3, 4)),
    "interpolate area": (lambda x: F.interpolate(x, size=(5, 2), mode="area"), floats(1, 2, 3, 4)),
    "fft": (tg.fft.fft, floats(3, 4, 2)),
    "seen": (lambda x: seen([x], lambda gradients: gradients)[0], floats(3, 4)),
    "interpolate nearest": (lambda x: F.interpolate(x, size=5), floats(1, 2, 3)),
    "unfold": (lambda x: F.unfold(x, 2), floats(1, 2, 3, 4)),
    "fold": (lambda x: F.fold(x, (3, 3), 2), floats(1, 8, 4)),
    "cdist": (tg.cdist, floats(3, 2), floats(4, 2)),
    "sums of differences": (pair_sums, floats(3, 4), floats(3, 2), floats(4, 2)),
    "products with differences": (pair_dots, floats(3, 2), floats(3, 2), floats(4, 2)),
    "embedding": (F.embedding, integers(5, 2, 3), floats(5, 2)),
    "bags": (lambda i, o, w, c: F.embedding_bag(i, w, o, mode="sum", per_sample_weights=c), integers(5, 6),
             np.array([0, 2, 3]), floats(5, 2), floats(6)),
    "spread of bags": (lambda x, i: spread_bags(x, i[0], 7), M, np.array([[0, 2, 2]] * 2)),
    "bags by maximum": (lambda i, w: F.embedding_bag(i, w, mode="max"), integers(5, 2, 3), floats(5, 2)),
    "one hot": (lambda i, x: tg.one_hot_rows(i, 5) * x, integers(5, 3), floats(3, 5)),
    "cross entropy": (lambda x, t, w: F.cross_entropy(x, t, w), M, integers(4, 3), floats(4)),
    "cross entropy by probability": (F.cross_entropy, M, floats(3, 4, high=0.5)),
    "nll": (lambda x, t, w: F.nll_loss(x, t, w), M, integers(4, 3), floats(4)),
    "binary cross entropy": (lambda x, t, w: F.binary_cross_entropy_with_logits(x, t, w, pos_weight=w), M,
                             floats(3, 4, high=0.9), floats(4)),
    "ctc": (lambda x, t, n, m: F.ctc_loss(tg.log_softmax(x, 2), t, n, m), floats(4, 2, 3), integers(2, 2, 2) + 1,
            np.array([4, 3]), np.array([2, 1])),
    "rnn": (lambda *a: rnn_layer(*a)[0], floats(3, 2, 2), floats(2, 2), floats(2, 2, high=0.5), floats(2),
            floats(2, high=0.5), floats(2, 2, high=0.6)),
    "gru": (lambda *a: gru_layer(*a)[0], floats(3, 2, 2), floats(6, 2), floats(6, 2, high=0.5), floats(6),
            floats(6, high=0.5), floats(2, 2, high=0.6)),
    "lstm": (lambda *a: lstm_layer(*a)[0], floats(3, 2, 2), floats(8, 2), floats(8, 2, high=0.5), floats(8),
             floats(8, high=0.5), floats(2, 2, high=0.6), floats(2, 2)),
    "lstm of one": (lambda *a: lstm_layer(*a)[0], floats(5, 1, 1), floats(4, 1), floats(4, 1, high=0.5), floats(4),
                    floats(4, high=0.5), floats(1, 1, high=0.6), floats(1, 1)),
    **{f"attention {q} {k} {e} {v}": (lambda a, b, c, d: F.scaled_dot_product_attention(a, b, c, d),
                                      floats(2, 2, q, e), floats(2, 2, k, e), floats(2, 2, k, v), floats(q, k))
       for q, k, e, v in ((3, 4, 2, 3), (1, 4, 3, 2), (3, 1, 3, 2), (1, 1, 3, 2), (3, 4, 1, 1), (1, 4, 1, 2))},
    "attention by mask": (lambda a, b, c, d: F.scaled_dot_product_attention(a, b, c, d), floats(3, 2), floats(4, 2),
                          floats(4, 3), bools(3, 4)),
    "rotary": (F.rotary_embedding, floats(2, 3, 4)),
    "layer norm": (lambda x, w, b: F.layer_norm(x, (4,), w, b), M, floats(4), floats(4, high=0.5)),
    "rms norm": (lambda x, w: F.rms_norm(x, (4,), w), M, floats(4)),
    "group norm": (lambda x, w, b: F.group_norm(x, 2, w, b), floats(2, 4, 3), floats(4), floats(4, high=0.5)),
    "instance norm": (lambda x, w, b: F.instance_norm(x, weight=w, bias=b), floats(2, 3, 4), floats(3), floats(3)),
    "batch norm": (lambda x, m, v, w, b: F.batch_norm(x, m, v, w, b), floats(2, 3, 4), floats(3), floats(3, high=0.9),
                   floats(3, low=0.4), floats(3, low=0.5)),
    "batch norm in training": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), floats(4, 3),
                               floats(3, low=0.4), floats(3, low=0.5)),
    "dropout": (seeded(lambda x: F.dropout(x, 0.5)), M),
    "custom": (doubled, floats(5), integers(5, 5)),
}  # fmt: skip


#: operands of floats by which there is no gradient
FIXED = {("cross entropy", 2), ("nll", 2), ("batch norm", 1), ("batch norm", 2), ("incomplete gamma function", 0),
         ("incomplete beta function", 0), ("incomplete beta function", 1)}


# ------------------------------------------------------------------ layouts: memory, and the view of it


def around(x, shape):
    """Memory of another shape, full of what would show."""
    wild = {"f": np.nan, "i": 10**9, "b": True}[x.dtype.kind]
    return np.full(shape, wild, x.dtype)


def cut(x, key, shape):
    memory = around(x, shape)
    memory[key] = x
    return memory, lambda t: t[key]


def strided(x):
    return cut(x, tuple(slice(1, None, 2) for _ in x.shape), [2 * n + 1 for n in x.shape])


def reversed_(x):
    key = tuple(slice(None, None, -1) for _ in x.shape)
    return x[key].copy(), lambda t: t[key]


def transposed(x):
    return x.T.copy(), lambda t: t.T


def embedded(x):
    return cut(x, tuple(slice(1, -1) for _ in x.shape), [n + 2 for n in x.shape])


def by_column(x):
    """Axis 0 innermost in memory and every second element of it, the others in order."""
    memory = around(x, (*x.shape[1:], 2 * x.shape[0])) if x.ndim else x
    if not x.ndim:
        return x, lambda t: t
    memory[..., ::2] = np.moveaxis(x, 0, -1)
    return memory, lambda t: tg.moveaxis(t[..., ::2], -1, 0)


LAYOUTS = {"strided": strided, "reversed": reversed_, "transposed": transposed, "embedded": embedded,
           "by column": by_column}


def laid_out(layout, arrays, chosen):
    """Memory of each operand and views of it; those not `chosen` lie in order."""
    return [LAYOUTS[layout](x) if j in chosen else (x, lambda t: t) for j, x in enumerate(arrays)]


def operands_of(name, dtype):
    return [x.astype(dtype) if x.dtype.kind == "f" else x for x in CASES[name][1:]]


def slopes(out, dtype):
    return np.linspace(0.5, 1.5, out.size).reshape(out.shape).astype(dtype)


def by_hand(function, made, floating):
    """Value, and the gradients of a weighted sum by the memory of each float operand."""
    leaves = [tg.tensor(m, requires_grad=j in floating) for j, (m, _) in enumerate(made)]
    out = function(*[view(t) for t, (_, view) in zip(leaves, made)])
    if out.requires_grad:
        out.backward(slopes(out, out.dtype))
    return out.numpy(), [t.grad.numpy() if t.requires_grad and t.grad is not None else None for t in leaves]


def recorded(function, made, floating):
    """The same as one recording whose arguments are the memories."""
    arrays = [m for m, _ in made]

    def loss(*given):
        out = function(*[view(t) for t, (_, view) in zip(given, made)])
        weights = slopes(out, arrays[floating[0]].dtype)
        return (out * weights).sum() if out.is_floating else tg.where(out, weights, 0.0).sum()

    try:
        value, gradients = tg.compile(tg.value_and_grad(loss, argnums=floating))(*arrays)
    except GradientError:
        return np.asarray(tg.compile(loss)(*arrays)), [None] * len(arrays)
    found = dict(zip(floating, gradients))
    return np.asarray(value), [found.get(j) for j in range(len(arrays))]


def agree(actual, expected, dtype):
    tolerance = 1e-12 if dtype == np.float64 else 3e-5
    np.testing.assert_allclose(actual, expected, rtol=tolerance,
                               atol=tolerance * max(np.abs(np.nan_to_num(expected)).max(initial=0.0), 1.0))


def check(name, layout, dtype, run, alone):
    function, operands = CASES[name][0], operands_of(name, dtype)
    floating = tuple(j for j, x in enumerate(operands) if x.dtype.kind == "f" and (name, j) not in FIXED)
    value, gradients = run(function, [(x, lambda t: t) for x in operands], floating)
    every = range(len(operands))
    for chosen in [set(every)] + ([{j} for j in every] if alone and len(operands) > 1 else []):
        made = laid_out(layout, operands, chosen)
        got, slopes_got = run(function, made, floating)
        agree(got, value, dtype)
        for (memory, view), found, wanted in zip(made, slopes_got, gradients):
            assert (found is None) == (wanted is None)
            if found is not None:
                places = view(tg.tensor(np.arange(memory.size).reshape(memory.shape))).numpy()
                expected = np.zeros(memory.size, dtype)
                expected[places] = wanted
                agree(found, expected.reshape(memory.shape), dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CASES)
def test_an_operand_that_lies_anyhow_gives_what_a_contiguous_copy_gives(name, layout, dtype):
    check(name, layout, dtype, by_hand, alone=dtype == np.float64)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", ["strided", "reversed", "by column"])
@pytest.mark.parametrize("name", CASES)
def test_a_recorded_operand_that_lies_anyhow_gives_what_a_contiguous_copy_gives(name, layout, dtype):
    check(name, layout, dtype, recorded, alone=False)


@pytest.mark.parametrize("name", CASES)
def test_an_operand_all_of_whose_elements_along_an_axis_are_one_in_memory_is_read_so(name):
    function, operands = CASES[name][0], operands_of(name, np.float64)
    for j, x in enumerate(operands):
        for axis in range(x.ndim):
            repeated = np.repeat(np.take(x, [0], axis), x.shape[axis], axis)
            given = [repeated if k == j else a for k, a in enumerate(operands)]
            expected = function(*map(tg.tensor, given)).numpy()
            tensors = list(map(tg.tensor, given))
            t = tensors[j]
            tensors[j] = view_of(t, 0, t.shape, tuple(0 if d == axis else s for d, s in enumerate(t.strides)))
            agree(function(*tensors).numpy(), expected, np.float64)


#: ops that no function records: they are made by plans, by optimisers, by walks, by derivatives of other ops
MADE_OTHERWISE = ("strips", "scratch", "block_sums", "ordered_sum", "total", "scaled_total", "unblend", "unpool",
                  "bands_transposed", "pick", "collect", "avg_unpool", "correlate")


def test_every_op_that_a_function_records_is_among_the_cases():
    recorded_ops = set()
    for name in CASES:
        function, operands = CASES[name][0], operands_of(name, np.float32)
        with tg.Tape() as tape:
            function(*[tg.tensor(x, requires_grad=x.dtype.kind == "f" and (name, j) not in FIXED)
                       for j, x in enumerate(operands)])
            recorded_ops.update(OPS[code].name for code in tape._opcode[:tape.count] if code >= 0)
    known = {op.name for op in OPS if op.adjoint is not None and op.adjoint.own and not isinstance(op, Mapped)}
    others = {name for name in known if name.endswith("_mask") or name in MADE_OTHERWISE}
    assert known - recorded_ops - others - set(UNARY) - set(BINARY) == set()
