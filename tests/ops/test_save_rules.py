"""The save rules name what the adjoints read: not less, for every other value is spoilt before an adjoint runs, and not
more, for spoiling one that is named changes a gradient.
"""

from importlib import import_module
from itertools import chain, combinations

import matrix_calls
import numpy as np
import pytest
from nn.parity_cases import parameter_values

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.engine.storage import array_at
from tapegrad.functions import bands, convolution, pooling, upsampling
from tapegrad.functions.apply import apply_binary, apply_unary
from tapegrad.functions.attention import rotary_embedding
from tapegrad.functions.distances import pair_dots, pair_sums
from tapegrad.functions.embedding import embedding_bag, spread_bags
from tapegrad.functions.gathering import gather_along
from tapegrad.functions.reductions import exclusive_prod, linear_recurrence
from tapegrad.functions.seen import seen
from tapegrad.ops.bands import TRANSPOSED, Banded
from tapegrad.ops.elementwise import BINARY, UNARY
from tapegrad.ops.few import SCALED_TOTALS, TOTALS
from tapegrad.ops.mapped import Mapped
from tapegrad.ops.masked import MASKED
from tapegrad.ops.pooling import AVG_UNPOOL, BY_WINDOW, PICK, UNPOOL, Means, Pool
from tapegrad.ops.table import OPS
from tapegrad.ops.upsampling import COLLECT, UNBLEND, Resampling
from tapegrad.ops.windows import Windows
from tapegrad.program.running.account import account
from tapegrad.tape.tape import Tape
from tapegrad.transforms.steps import Attributes

pytestmark = pytest.mark.compiled
FAMILIES = ("parity", "layer", "attention", "convolution", "ctc", "distances", "indexing", "recurrence", "resampling")
EACH = 2  # cases of every function of a family


def draw(*shape, seed=0, low=0.1, high=0.9):
    return np.random.default_rng(seed + len(shape)).uniform(low, high, shape)


# ------------------------------------------------------------------ spoiling


def bytes_of(buffer):
    return array_at(buffer.address, (buffer.nbytes,), (1,), np.dtype(np.uint8), None)


def spoil(buffer, is_float):
    """NaN, and zeros for the rest: an index that is read where it should not be must at least exist."""
    bytes_of(buffer)[...] = 255 if is_float else 0


class Walk:
    """The reverse walk, an instruction at a time, with values spoilt meanwhile.

    Attributes
    ----------
    target : tuple or None
        An instruction and an operand that its rule names, which is spoilt; None: all that no rule names are.
    visited : list of (op's name, number, operands that its rule names)
    """

    def __init__(self, monkeypatch):
        self.target, self.visited, self._walk = None, [], Tape.walk_back
        monkeypatch.setattr(Tape, "walk_back", lambda tape, first, last, keeps: self.back(tape, first, last))

    def back(self, tape, first, last):
        self.visited = []
        for n in range(last - 1, first - 1, -1):
            if not tape._live[n]:
                continue
            operands, read = tape.notes[n][:2]
            buffers = tape.saved[n]
            self.visited.append((OPS[tape._opcode[n]].name, n, read))
            chosen = set(range(len(buffers))) - set(read)
            if self.target is not None:
                chosen = {self.target[1]} if self.target[0] == n else set()
            spared = {buffers[j].address for j in set(range(len(buffers))) - chosen}
            before = {}  # by address, for operands may be views of one buffer
            for j in chosen:
                buffer = buffers[j]
                if buffer.address not in spared and buffer.address not in before and buffer.nbytes:
                    known = j < len(operands)
                    before[buffer.address] = buffer, bytes_of(buffer).copy()
                    spoil(buffer, operands[j][1].kind == "f" if known else self.target is None)
            self._walk(tape, n, n + 1, True)
            for buffer, content in before.values():
                bytes_of(buffer)[...] = content


def gradients(tensors, out, weights):
    for t in tensors:
        if t.grad is not None:
            t.grad = None
    out.backward(weights, retain_graph=True)
    return [None if t.grad is None else t.grad.numpy() for t in tensors]


def subsets(count):
    """All sets of inputs, or of many inputs each one and all."""
    if count <= 3:
        return list(chain.from_iterable(combinations(range(count), k) for k in range(1, count + 1)))
    return [*({k} for k in range(count)), set(range(count))]


def examine(walk, function, arrays, parameters=()):
    """Hold the gradients of every set of inputs against those with all spoilt that no rule names.

    `NEEDED` collects, by op, the operands that a rule names and whether any gradient has shown that they are read.
    """
    tensors = [tg.tensor(a.astype(np.float32)) for a in arrays]
    everything = [*tensors, *parameters]
    for wanted in subsets(len(everything)):
        for k, t in enumerate(everything):
            t.requires_grad_(k in wanted)
        tg.manual_seed(3)
        with tg.Tape():
            out = function(*tensors)
            if not out.requires_grad:
                continue
            weights = np.linspace(0.5, 1.5, out.size).reshape(out.shape)
            walk.target = (-1, -1)
            expected = gradients(everything, out, weights)
            if not all(np.isfinite(g).all() for g in expected if g is not None):
                continue
            walk.target = None
            for found, want in zip(gradients(everything, out, weights), expected):
                np.testing.assert_array_equal(found, want)
            for name, n, read in walk.visited:
                EXAMINED.add(name)
                for j in read:
                    if not NEEDED.setdefault((name, j), False):
                        walk.target = n, j
                        found = gradients(everything, out, weights)
                        NEEDED[name, j] = any(not np.array_equal(a, b) for a, b in zip(found, expected)
                                              if b is not None)


# ------------------------------------------------------------------ what is examined

X, Y, ROW, IMAGE = draw(3, 4), draw(3, 4, seed=1), draw(4, seed=2), draw(2, 4, 6, 5, low=-1.0, high=1.0)
INDEX = np.array([2, 0, 2])
SIGNED = draw(5, 7, low=-0.9, high=0.9)
WINDOWS = dict(planes=8, image=(6, 5), result=(3, 2), kernel=(2, 2), stride=(2, 2), padding=(0, 0))
CHOSEN = Attributes(Pool, Pool.words(**WINDOWS, dilation=(1, 1))), tg.tensor(np.ones(48, bool))
MEANS = Attributes(Means, Means.words(**WINDOWS, rule=BY_WINDOW, divisor=1.0, adaptive=False))

#: where a function is defined, or where its rule has several cases
DOMAINS = {"log": X, "sqrt": X, "power_constant": X, "x_log_x": X, "arccosh": X + 1.0, "prelu": X - 0.5,
           "heaviside": np.where(np.eye(3, 4) > 0, 0.0, X)}
FUNCTIONS = {
    **{f"unary {name}": (lambda x, op=op: apply_unary(op, x, 0.3, 0.6), [DOMAINS.get(name, SIGNED)])
       for name, op in UNARY.items() if op.adjoint},
    **{f"binary {name}": (lambda a, b, op=op: apply_binary(op, a, b, 0.3), [DOMAINS.get(name, X), Y])
       for name, op in BINARY.items()},
    **{f"broadcast {name}": (lambda a, b, op=op: apply_binary(op, a, b, 0.3), [DOMAINS.get(name, X), ROW])
       for name, op in BINARY.items()},
    **{f"{name} of rows": (lambda x, name=name: getattr(tg, name)(x, axis=1), [X]) for name in (
        "sum", "max", "min", "prod", "var", "logsumexp", "softmax", "log_softmax", "cumsum", "cumprod", "logcumsumexp",
        "std", "mean")},
    "prod with a zero": (lambda x: tg.prod(x, axis=1), [np.where(np.eye(3, 4) > 0, 0.0, X)]),
    "where": (lambda a, b: tg.where(np.eye(3, 4) > 0, a, b), [X, Y]),
    "where recorded": (lambda a, b: tg.where(a > b, a, b), [X, Y]),
    "stack": (lambda a, b: tg.stack([a[0, 0], b[1, 1], a[2, 3]]), [X, Y]),
    "softmax of few": (lambda x: tg.softmax(x, 0), [ROW]),
    **{f"scalar {name}": (lambda x, op=op: apply_unary(op, x[0, 0], 0.3, 0.6), [DOMAINS.get(name, X)])
       for name, op in UNARY.items() if op.adjoint},
    **{f"scalars {name}": (lambda a, b, op=op: apply_binary(op, a[0, 0], b[0, 0], 0.3), [X, Y])
       for name, op in BINARY.items()},
    "concatenate": (lambda a, b: tg.concatenate([a, b], axis=1), [X, Y]),
    "take": (lambda x: x[INDEX], [X]),
    "set": (lambda x, y: x.at[INDEX[:2]].set(y), [X, Y[:2]]),
    "add": (lambda x, y: x.at[INDEX].add(y), [X, Y]),
    "pad": (lambda x: tg.pad(x, 1), [X]),
    "matmul": (lambda a, b: tg.matmul(a, b), [X, draw(4, 5)]),
    **{name: (function, [draw(3, 3)]) for name, function in matrix_calls.OF_ONE.items()},
    **{name: (function, [draw(3, 3), draw(3, 2)]) for name, function in matrix_calls.OF_TWO.items()},
    "batches": (lambda a, b: tg.matmul(a, b), [draw(2, 3, 4), draw(2, 4, 5)]),
    "pair sums": (pair_sums, [draw(3, 5), X, draw(5, 4)]),
    "pair dots": (pair_dots, [X, Y, draw(5, 4)]),
    "norm": (lambda x: tg.vector_norm(x, 3.0, 1), [X]),
    "pick": (lambda x: pooling.chosen(PICK, x, CHOSEN[1], CHOSEN[0], (2, 4, 3, 2)), [IMAGE]),
    "unpool": (lambda x: pooling.chosen(UNPOOL, x, CHOSEN[1], CHOSEN[0], (2, 4, 6, 5)), [draw(2, 4, 3, 2)]),
    "avg unpool": (lambda x: pooling.means(AVG_UNPOOL, x, MEANS, (2, 4, 6, 5)), [draw(2, 4, 3, 2)]),
    "dropout": (lambda x: F.dropout(x, 0.5), [X]),
    "rotary": (lambda x: rotary_embedding(x), [draw(2, 3, 4)]),
    "embedding bag": (lambda w: embedding_bag(np.array([[1, 2], [2, 0]]), w), [X]),
    "products of all but one": (exclusive_prod, [X]),
    "recurrence": (lambda a, x: linear_recurrence(a, x, False), [X, Y]),
    "recurrence from the last": (lambda a, x: linear_recurrence(a, x, True), [X, Y]),
    "incomplete gamma function": (lambda x: tg.gammainc(tg.tensor((X + 1.0).astype("f")), x), [Y]),
    "incomplete beta function": (lambda x: tg.betainc(tg.tensor((X + 1.0).astype("f")), 1.5, x), [Y]),
    "last by index": (lambda x: gather_along(x, 0, tg.tensor(INDEX[:, None]), (3, 4), True, True), [X]),
    "spread of bags": (lambda x: spread_bags(x, tg.tensor(np.array([0, 2, 2])), 5), [X]),
    "greatest of a bag": (lambda w: embedding_bag(np.array([[1, 2], [2, 0]]), w, mode="max"), [X]),
    "weighted bag": (lambda w, c: embedding_bag(np.array([[1, 2], [2, 0]]), w, mode="sum", per_sample_weights=c),
                     [X, draw(2, 2)]),
    "batch norm of given statistics": (lambda x, w, b: F.batch_norm(
        x, tg.tensor(ROW.astype("f")), tg.tensor(ROW.astype("f")), w, b), [X, ROW, ROW]),
    "cross entropy": (lambda x: F.cross_entropy(x, np.array([1, 3, 2]), weight=tg.tensor(ROW.astype("f"))), [X]),
    "nll": (lambda x: F.nll_loss(x, np.array([1, 3, 2])), [X]),
    "fft": (tg.fft.fft, [draw(2, 6, 2)]),
    "rfft": (tg.fft.rfft, [draw(3, 7)]),
    "irfft": (tg.fft.irfft, [draw(3, 4, 2)]),
    "means of what is met": (lambda x: F.interpolate(x, (3, 7), mode="area"), [IMAGE]),
    "seen": (lambda x: seen([x], lambda gradients: gradients)[0], [X]),
    "nll weighted": (lambda x: F.nll_loss(x, np.array([1, 3, 2]), weight=tg.tensor(ROW.astype("f"))), [X]),
}

SEEN = Attributes(Windows, convolution.window_words(2, 1, 4, 3, (6, 5), (2, 3), (1, 1), (0, 0), (1, 1), (5, 3)))
SIZES = Attributes(Resampling, Resampling.words(planes=8, height=6, width=5, rows=3, columns=2))
TABLES = {"table": tg.tensor(np.array([0, 2, 5, 1, 3]))}
BANDED = (tg.tensor(np.array([0, 2, 3, 6])), tg.tensor(np.full((2, 3), 0.4, "f")), Attributes(
    Banded, Banded.words(outer=4, inner=1, n=6, m=2, taps=3)))
PAIRS = {"table": tg.tensor(np.array([0, 2, 4, 1, 3, 5, 1, 3, 2, 4])), "shares": tg.tensor(np.full(10, 0.4, "f"))}
FUNCTIONS |= {
    "collect": (lambda x: upsampling.resampled(COLLECT, x, TABLES, SIZES, (2, 4, 6, 5)), [draw(2, 4, 3, 2)]),
    "bands transposed": (lambda x: bands.multiplied(TRANSPOSED, x, *BANDED, (4, 6)), [draw(4, 2)]),
    "correlate": (lambda a, b: convolution.correlate(SEEN, a, b), [draw(2, 3, 5, 3), IMAGE]),
    "unblend": (lambda x: upsampling.resampled(UNBLEND, x, PAIRS, SIZES, (2, 4, 6, 5)), [draw(2, 4, 3, 2)]),
}


def sample(family):
    """`EACH` cases of every function of a family, far apart in its list."""
    by_function = {}
    for case in import_module(f"nn.{family}_cases").CASES:
        if case.gradients:
            by_function.setdefault(case.function, []).append(case)
    return [cases[k] for cases in by_function.values()
            for k in sorted(set(np.linspace(0, len(cases) - 1, EACH).astype(int).tolist()))]


def call(case):
    """A function of the case's float arrays, these, and the parameters that it has besides."""
    floats = {name for name, array in case.arrays.items() if array.dtype.kind == "f"}
    options = {name: tg.tensor(value.astype(np.float32)) if isinstance(value, np.ndarray) and value.dtype.kind == "f"
               else value for name, value in case.options.items()}
    if case.module is not None:
        module = getattr(nn, case.function)(**case.module)
        shapes = {name: p.shape for name, p in module.named_parameters()}
        module.load_state_dict({**module.state_dict(), **parameter_values(shapes)})
        target, parameters = module, list(module.parameters())
    else:
        target, parameters = getattr(F, case.function, None) or getattr(tg, case.function), []

    def function(*tensors):
        given = iter(tensors)
        named = {name: next(given) if name in floats else array for name, array in case.arrays.items()}
        out = target(*named.values(), **options) if case.module is not None else target(**named, **options)
        parts = [out] if isinstance(out, tg.Tensor) else [part for part in out if isinstance(part, tg.Tensor)]
        parts = [part for part in parts if part.is_floating]
        return parts[0] if len(parts) == 1 else tg.concatenate([tg.reshape(part, (-1,)) for part in parts])

    return function, [array for name, array in case.arrays.items() if name in floats], parameters


#: operands that adjoints use as room, not for what is in them; one that only says whether a loss is infinite; matrices
#: whose values have adjoints that read their vectors, where the derivative of these reads the matrix
ROOM = {("conv", 4), ("conv_transpose", 4), ("correlate", 4), ("rnn", 8), ("lstm", 8), ("gru", 8), ("attention", 5),
        ("batch_norm", 9), ("batch_norm_fixed", 9), ("ctc_loss", 7), ("ctc_loss", 6), ("eigvalsh", 1), ("svdvals", 1),
        *((name, 2) for name in matrix_calls.OF_ONE if name not in ("eigvalsh", "svdvals")), ("eigvalsh", 3),
        ("svdvals", 3), *((name, 3) for name in matrix_calls.OF_TWO), ("fourier", 3), ("seen", 2), ("seen", 3)}
# What the tests below have found, for the last of them.
NEEDED: dict[tuple[str, int], bool] = {}
EXAMINED: set[str] = set()
DONE: set[str] = set()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_adjoints_read_nothing_that_their_rule_does_not_name(name, monkeypatch):
    function, arrays = FUNCTIONS[name]
    examine(Walk(monkeypatch), function, arrays)
    DONE.add(name)


@pytest.mark.parametrize("family", FAMILIES)
def test_neither_do_those_of_layers_and_losses(family, monkeypatch):
    walk = Walk(monkeypatch)
    for case in sample(family):
        function, arrays, parameters = call(case)
        examine(walk, function, arrays, parameters)
    DONE.add(f"{family} family")


def test_every_op_was_examined_and_its_rule_names_no_more_than_is_read():
    if len(DONE) < len(FUNCTIONS) + len(FAMILIES):
        pytest.skip("all the tests above must have passed in this process")
    own = {op.name for op in OPS if op.adjoint is not None and op.forward.own and not isinstance(op, Mapped)}
    recorded = {op.name for op in (*MASKED.values(), *TOTALS.values(), *SCALED_TOTALS.values())}
    assert own - EXAMINED <= recorded  # define by run there are none of those
    assert {key for key, read in NEEDED.items() if not read} <= ROOM


# ------------------------------------------------------------------ recordings


def block(*layers):
    return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), *layers, nn.Flatten(), nn.Linear(4 * 6 * 6, 3))


PICTURES, TOKENS = draw(8, 4, 6, 6, low=-1.0, high=1.0), draw(8, 5, 12, low=-1.0, high=1.0)
LABELS = np.arange(8) % 3
NETWORKS = {
    **{f"{activation.__name__}": (lambda activation=activation: nn.Sequential(*[
        layer for _ in range(4) for layer in (nn.Linear(144, 144), activation())], nn.Linear(144, 3)), "rows")
        for activation in (nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.ELU, nn.Tanh, nn.GELU)},
    "dropout": (lambda: nn.Sequential(nn.Linear(144, 144), nn.Dropout(0.5), nn.ReLU(), nn.Linear(144, 3)), "rows"),
    "max pool": (lambda: block(nn.LeakyReLU(), nn.MaxPool2d(3, 1, 1), nn.Conv2d(4, 4, 1)), "pictures"),
    "mean pool": (lambda: block(nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(3, 1, 1), nn.GroupNorm(2, 4)), "pictures"),
    "frozen statistics": (lambda: block(nn.BatchNorm2d(4).eval(), nn.Hardtanh()), "pictures"),
    "attention": (lambda: nn.TransformerEncoderLayer(12, 2, 16, batch_first=True), "tokens"),
    "recurrence": (lambda: nn.LSTM(12, 12, batch_first=True), "tokens"),
    "gated recurrence": (lambda: nn.GRU(12, 12, 2, batch_first=True), "tokens"),
}


def loss_of(model, kind):
    def loss(x):
        out = model(x)
        out = out[0] if isinstance(out, tuple) else out
        return F.cross_entropy(out, LABELS) if kind != "tokens" else (out * out).mean()

    return loss


def spoil_what_is_not_kept(program):
    """NaN everywhere in the arena but where a value lies that was born in the forward walk and is read afterwards."""
    report = account(program, 0)
    forward = len(report.instructions)
    before = program.arena.copy()
    program.arena.view(np.uint8)[...] = 255
    for life in report.buffers:
        if life.kind != "adjoint" and life.birth < forward <= life.death:
            program.arena[life.offset:life.offset + life.nbytes] = before[life.offset:life.offset + life.nbytes]


@pytest.mark.machine  # it spoils the canaries of TAPEGRAD_DEBUG=1, too
@pytest.mark.parametrize("frozen", ["none", "all but the first", "all but the last", "every second", "weights"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_reverse_walk_of_a_recording_reads_nothing_but_what_is_kept(name, frozen):
    make, kind = NETWORKS[name]
    x = {"rows": PICTURES.reshape(8, 144), "pictures": PICTURES, "tokens": TOKENS}[kind].astype(np.float32)
    model = make()
    parameters = list(model.named_parameters())
    for k, (of, p) in enumerate(parameters):
        p.requires_grad_({"none": True, "all but the first": k < 2, "all but the last": k >= len(parameters) - 2,
                          "every second": k // 2 % 2 == 0, "weights": "weight" not in of}[frozen])
    step = tg.TrainStep(loss_of(model, kind), optim.SGD(model.parameters(), lr=0.0))
    step(x)
    program, found = step._last.program, []
    for spoils in (False, True):
        tg.manual_seed(3)
        program.give([x])
        program.draw()
        turn = int(program.tasks.first[len(program.tape)])
        program.run(0, turn)
        if spoils:
            spoil_what_is_not_kept(program)
        program.run(turn)
        found.append({of: p.grad.numpy() for of, p in parameters if p.requires_grad})
    assert found[0]
    for of, want in found[0].items():
        np.testing.assert_array_equal(found[1][of], want)
        assert np.isfinite(want).all()
