"""A monitored run: the same results, the right figures, and what is wrong named where it is."""

import json
import math

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError, GradientError, MissingExtraError

ROWS, WIDTH, CLASSES = 96, 12, 5
rng = np.random.default_rng(3)
X = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
Y = rng.integers(0, CLASSES, ROWS)


def network(*hidden):
    """A network with these layers between its first and its last."""
    tg.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, 16), *hidden, nn.Linear(16, CLASSES))


def training(model, optimizer=None, **options):
    return tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optimizer or optim.SGD(model.parameters(), lr=0.1),
                        **options)


def monitored(model, every=1, epochs=1, x=X, **options):
    monitor = tg.Monitor(every=every)
    training(model, **options).run(x, Y, batch_size=32, epochs=epochs, seed=0, monitor=monitor)
    return monitor


# ------------------------------------------------------------------ the run stays as it is


class Joined(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.last = nn.Linear(WIDTH, 8), nn.Linear(WIDTH, 8), nn.Linear(64, CLASSES)

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        return self.last(tg.concatenate([a, F.tanh(b)] * 4, axis=1))


class Recomputed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(WIDTH, 16), nn.Linear(16, 16), nn.Linear(16, CLASSES)

    def forward(self, x):
        return self.last(tg.checkpoint(lambda h: F.dropout(F.gelu(self.middle(h)), 0.2), F.tanh(self.first(x))))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.cell, self.last = nn.Embedding(9, 4), nn.LSTM(4, 6, batch_first=True), nn.Linear(6, CLASSES)

    def forward(self, x):
        states, _ = self.cell(self.table(tg.tensor(np.arange(WIDTH) % 5)) + tg.reshape(x, (-1, WIDTH, 1)))
        return self.last(states[:, -1])


RUNS = {
    "plain": lambda: (network(nn.ReLU()), {}, {}),
    "dropout": lambda: (network(nn.ReLU(), nn.Dropout(0.3)), {}, {}),
    "running statistics": lambda: (network(nn.BatchNorm1d(16), nn.ReLU()), {}, {}),
    "micro-batches": lambda: (network(nn.ReLU(), nn.Dropout(0.3)), {"accumulate": 2}, {}),
    "a memory budget": lambda: (network(nn.Tanh(), nn.Linear(16, 16), nn.Tanh()), {"memory_budget": "64KiB"}, {}),
    "a last smaller batch": lambda: (network(nn.GELU()), {}, {"batch_size": 36}),
    "concatenation": lambda: (Joined(), {}, {}),
    "a stretch that is recomputed": lambda: (Recomputed(), {}, {}),
    "a recurrence": lambda: (Recurrent(), {}, {}),
    "float64": lambda: (network(nn.ReLU(), nn.Dropout(0.5)).double(), {}, {}),
    "fused elementwise ops": lambda: (network(nn.Linear(16, 2048), nn.Tanh(), nn.SiLU(), nn.Linear(2048, 16)), {}, {}),
}


@pytest.mark.parametrize("name", RUNS)
def test_results_are_the_same_to_the_bit(name):
    results = []
    for every in (None, 1, 3):
        tg.manual_seed(1)
        model, options, run = RUNS[name]()
        optimizer = optim.Adam(model.parameters(), lr=1e-2, max_grad_norm=0.5)
        optim.lr_scheduler.CosineAnnealingLR(optimizer, 12, interval="step")
        step = training(model, optimizer, **options)
        monitor = None if every is None else tg.Monitor(every=every)
        history = step.run(X, Y, epochs=4, seed=1, monitor=monitor, **{"batch_size": 32, **run})
        last = step(X[:32], Y[:32])  # the step itself is as usable as before
        results.append([history.loss, last, *model.state_dict().values()])
        assert monitor is None or monitor.steps == list(range(0, len(history), every))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other))


def test_recordings_are_not_made_anew():
    calls = []
    model = network(nn.ReLU())
    step = tg.TrainStep(lambda x, y: calls.append(1) or F.cross_entropy(model(x), y),
                        optim.SGD(model.parameters(), lr=0.1))
    step.run(X, Y, batch_size=32, epochs=3, monitor=tg.Monitor(every=2))
    assert len(calls) == step.recordings == 1


def test_steps_are_counted_over_runs_and_further_ones_can_be_named():
    model = network(nn.ReLU())
    step, monitor = training(model), tg.Monitor(every=4, steps=[5, 1, 100])
    for _ in range(3):
        step.run(X, Y, batch_size=32, epochs=1, monitor=monitor)
    assert monitor.step == 9 and monitor.steps == [0, 1, 4, 5, 8] and len(monitor) == 5


# ------------------------------------------------------------------ figures


def test_figures_are_those_of_numpy():
    model = network(nn.ReLU())
    w, b, v, c = (p.numpy().astype(np.float64) for p in model.parameters())
    monitor = tg.Monitor()
    training(model).run(X, Y, batch_size=ROWS, shuffle=False, monitor=monitor)
    h = X @ w.T + b
    r = np.maximum(h, 0.0)
    z = r @ v.T + c
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    dz = (p - np.eye(CLASSES)[Y]) / ROWS
    dr = dz @ v
    dh = dr * (h > 0)
    first, relu, last, loss = monitor.to_dict()["samples"][0]["layers"]
    assert [layer["name"] for layer in (first, relu, last, loss)] == ["0", "1", "2", "cross_entropy #3"]
    norm = np.linalg.norm
    for layer, value, adjoint in ((first, h, dh), (relu, r, dr), (last, z, dz)):
        for found, expected in ((layer["value"], value), (layer["adjoint"], adjoint)):
            assert found["norm"] == pytest.approx(norm(expected), rel=1e-5)
            assert found["mean"] == pytest.approx(expected.mean(), abs=1e-6)
            assert (found["min"], found["max"]) == pytest.approx((expected.min(), expected.max()), rel=1e-4)
            assert found["zeros"] == (expected == 0).sum()
            assert sum(found["histogram"]["counts"]) == expected.size
    assert loss["value"]["norm"] == pytest.approx(-np.log(p[np.arange(ROWS), Y]).mean(), rel=1e-5)
    assert relu["dead"] == pytest.approx((r <= 0).all(0).mean())
    for found, weight, gradient in ((first["parameters"], w, dh.T @ X), (last["parameters"], v, dz.T @ r)):
        assert found[0]["gradient"]["norm"] == pytest.approx(norm(gradient), rel=1e-5)
        assert found[0]["weight"]["norm"] == pytest.approx(norm(weight), rel=1e-5)
        assert found[0]["ratio"] == pytest.approx(0.1 * norm(gradient) / norm(weight), rel=1e-4)
        assert [p["name"] for p in found] == [f"{found[0]['name'][0]}.weight", f"{found[0]['name'][0]}.bias"]


def test_weights_are_those_before_the_update():
    model = network(nn.ReLU())
    before = model[0].weight.numpy().copy()
    monitor = monitored(model, every=100)
    layer = monitor.to_dict()["samples"][0]["layers"][0]
    assert layer["parameters"][0]["weight"]["max"] == before.max()


def test_layers_of_a_functional_forward_are_told_apart():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(WIDTH, 16), nn.Linear(16, CLASSES)

        def forward(self, x):
            return self.b(F.relu(self.a(F.tanh(x))))

    monitor = monitored(Net())
    assert [layer.name for layer in monitor.latest().watch.layers] == [
        "Net tanh #0", "a", "Net relu #2", "b", "cross_entropy #4"]


# ------------------------------------------------------------------ what is wrong


def flagged(monitor, flag):
    return [finding for finding in monitor.findings() if finding.flag == flag]


def line_of(text):
    """The number of the line of this file that holds a comment."""
    with open(__file__, encoding="utf-8") as source:
        return next(k for k, line in enumerate(source, 1) if line.rstrip().endswith(text) and "line_of" not in line)


class Planted(nn.Module):
    """A network in whose middle something goes wrong."""

    def __init__(self):
        tg.manual_seed(0)
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, 16), nn.Linear(16, CLASSES)


class LogOfNegative(Planted):
    def forward(self, x):
        h = F.relu(self.first(x)) + 0.5
        h = tg.log(h - 1.0)  # planted NaN
        return self.second(h)


class RootOfZero(Planted):
    def forward(self, x):
        h = self.first(x) * 0.0
        h = tg.sqrt(h * h)  # planted NaN of the reverse walk
        return self.second(h)


@pytest.mark.parametrize("every", [1, 1000])
def test_a_nan_is_named_at_the_instruction_and_line_of_its_birth(every):
    monitor = monitored(LogOfNegative(), every=every, epochs=2)
    finding, = flagged(monitor, "nan")
    assert finding.step == 0 and finding.place.op == "log"
    assert finding.place.line == line_of("# planted NaN") and finding.place.file == __file__
    assert "forward" in finding.message


def test_a_nan_of_the_reverse_walk_is_named_too():
    monitor = monitored(RootOfZero(), epochs=2)
    infinite, nan = monitor.findings()[:2]
    assert (infinite.flag, infinite.place.op, infinite.step) == ("infinite", "sqrt", 0)
    assert (nan.flag, nan.step) == ("nan", 0) and "reverse" in nan.message
    assert nan.place.line == infinite.place.line == line_of("# planted NaN of the reverse walk")
    assert nan.place.op == "multiply"  # inf * 0


def test_a_nan_between_samples_is_looked_into():
    """It comes from the data of a later step, which is not one of the chosen ones."""
    x = X.copy()
    x[70, 3] = np.nan
    monitor = tg.Monitor(every=1000)
    model = network(nn.ReLU())
    step = training(model)
    history = step.run(x, Y, batch_size=32, epochs=2, shuffle=False, monitor=monitor)
    finding, = flagged(monitor, "nan")
    assert monitor.steps == [0, 2] and finding.step == 2 and "input 0" in finding.message
    plain = network(nn.ReLU())
    expected = training(plain).run(x, Y, batch_size=32, epochs=2, shuffle=False)
    np.testing.assert_array_equal(history.loss, expected.loss)
    np.testing.assert_array_equal(model[2].bias.numpy(), plain[2].bias.numpy())


def test_a_nan_of_an_unsampled_reverse_walk_is_found_by_the_step_that_is_named():
    x = X.copy()
    x[64:96] = 0.0  # of the last step of an epoch of three: the root of zero
    named = []
    for steps in ((), (2,)):
        tg.manual_seed(0)
        first, last = nn.Linear(WIDTH, 16, bias=False), nn.Linear(16, CLASSES)

        def loss(x, y, first=first, last=last):
            return F.cross_entropy(last(tg.sqrt(first(x) ** 2)), y)

        monitor = tg.Monitor(every=1000, steps=steps)
        step = tg.TrainStep(loss, optim.SGD([*first.parameters(), *last.parameters()], lr=0.1))
        step.run(x, Y, batch_size=32, epochs=2, shuffle=False, monitor=monitor)
        named.append((monitor.steps, flagged(monitor, "nan")[0]))
    (blind, after), (seeing, found) = named
    assert blind == [0, 3] and "parameter Linear.weight held NaN" in after.message and "steps=[2]" in after.message
    assert [p.name for layer in monitor.latest().watch.layers for p in layer.parameters] == [
        "Linear.weight", "Linear2.weight", "Linear2.bias"]
    assert seeing[:2] == [0, 2] and found.step == 2 and "reverse" in found.message


def test_a_loss_that_is_infinite_between_samples_is_looked_into():
    x = np.ones((ROWS, WIDTH), np.float32)
    x[70] = 3e38
    monitor = monitored(nn.Sequential(nn.Linear(WIDTH, 16), nn.Linear(16, CLASSES)), every=1000, x=x)
    assert len(monitor) == 2 and {"infinite", "nan"} & {finding.flag for finding in monitor.findings()}


def test_a_parameter_that_was_nan_before_is_said():
    model = network(nn.ReLU())
    model[2].weight.copy_(np.full((CLASSES, 16), np.nan))
    finding, = flagged(monitored(model), "nan")
    assert "parameter 2.weight held NaN before the step" in finding.message and finding.layer == "2"


def test_a_dead_layer_is_named():
    model = network(nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
    model[2].bias.copy_(np.full(16, -1e3))
    monitor = monitored(model)
    finding, = flagged(monitor, "dead")
    assert finding.layer == "3" and finding.place.op == "relu" and "16 of 16" in finding.message
    assert monitor.latest().flags[3] == ["dead"] and monitor.latest().flags[2] == ["vanishing"]


def test_dead_channels_of_images_are_counted():
    tg.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, CLASSES))
    model[0].bias.copy_(np.array([-1e3, 0.0, 0.0, -1e3]))
    monitor = monitored(model, x=X[:, :4].reshape(-1, 1, 2, 2).repeat(2, 2).repeat(2, 3))
    finding, = flagged(monitor, "dead")
    assert "2 of 4 units" in finding.message


def test_a_vanishing_gradient_is_named_at_the_layer_in_which_it_vanishes():
    model = network(nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh())
    model[4].weight.copy_(model[4].weight.numpy() * 1e-7)
    monitor = monitored(model)
    finding, = flagged(monitor, "vanishing")
    assert finding.layer == "4" and finding.place.op == "linear"
    flags = monitor.samples[0].flags
    assert [k for k, each in enumerate(flags) if "vanishing" in each] == [0, 1, 2, 3]


def test_an_exploding_gradient_is_named():
    model = network(nn.Linear(16, 16), nn.Linear(16, 16))
    model[1].weight.copy_(model[1].weight.numpy() * 1e6)
    monitor = monitored(model, optimizer=optim.SGD(model.parameters(), lr=1e-20))
    finding, = flagged(monitor, "exploding")
    assert finding.layer == "1"


def test_saturated_sigmoids_are_named():
    model = network(nn.Sigmoid(), nn.Linear(16, 16), nn.Tanh())
    model[2].bias.copy_(np.full(16, 50.0))
    findings = flagged(monitored(model), "saturated")
    assert [finding.layer for finding in findings] == ["3"] and findings[0].place.op == "tanh"


def test_a_sound_run_is_not_flagged():
    assert monitored(network(nn.ReLU()), epochs=10).findings() == []


# ------------------------------------------------------------------ what it gives


@pytest.fixture(scope="module")
def broken():
    model = network(nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
    model[2].bias.copy_(np.full(16, -1e3))
    return monitored(model, every=2, epochs=3)


def test_the_text_has_a_row_a_layer_and_the_findings(broken):
    lines = str(broken).splitlines()
    assert lines[0].startswith("step 8, loss ")
    assert [line.split()[0] for line in lines[2:7]] == ["0", "1", "2", "3", "4"]
    assert "16 of 16 units were active for no row" in lines[-1]


def test_the_dict_is_json(broken):
    found = json.loads(broken.to_json())
    assert [sample["step"] for sample in found["samples"]] == [0, 2, 4, 6, 8]
    assert {finding["flag"] for finding in found["findings"]} == {"dead", "vanishing"}
    nan = monitored(LogOfNegative())
    assert json.loads(nan.to_json())["samples"][0]["loss"] == "nan"


def test_the_picture_is_drawn(broken, tmp_path):
    pytest.importorskip("matplotlib")
    for ending in ("png", "svg"):
        broken.plot(tmp_path / f"run.{ending}")
        assert (tmp_path / f"run.{ending}").stat().st_size > 5000
    monitored(LogOfNegative()).plot(tmp_path / "nan.png")
    monitored(network(), every=1000).plot(tmp_path / "one.png")


def test_the_page_stands_alone(broken, tmp_path):
    broken.html(tmp_path / "run.html")
    page = (tmp_path / "run.html").read_text(encoding="utf-8")
    data = page[page.index("const samples = ") + 16:page.index(".samples, at")]
    assert [sample["step"] for sample in json.loads(data)["samples"]] == [0, 2, 4, 6, 8]
    assert "http" not in page and "16 of 16 units" in page and "{" + "said}" not in page


def test_tensorboard_reads_the_events(broken, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    broken.tensorboard(tmp_path)
    events = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0, "scalars": 0})
    events.Reload()
    losses = events.Scalars("loss")
    assert [event.step for event in losses] == broken.steps
    np.testing.assert_allclose([event.value for event in losses], [s.loss for s in broken.samples], rtol=1e-6)
    assert events.Scalars("share of dead units/3")[-1].value == 1.0
    histogram = events.Histograms("gradients/0.weight")[-1].histogram_value
    sample = broken.latest()
    gradient = sample.quantity(sample.watch.layers[0].parameters[0].gradient)
    assert histogram.num == 16 * WIDTH and list(histogram.bucket) == gradient["histogram"]["counts"]
    assert histogram.bucket_limit[-1] == pytest.approx(gradient["max"])
    assert math.sqrt(histogram.sum_squares) == pytest.approx(gradient["norm"])


def test_without_their_libraries_they_say_what_to_install(broken, tmp_path, monkeypatch):
    for module in ("matplotlib.figure", "tensorboard.compat.proto"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match="viz"):
        broken.plot(tmp_path / "run.png")
    with pytest.raises(MissingExtraError, match=r"tapegrad\[tensorboard\]"):
        broken.tensorboard(tmp_path)


def test_bad_arguments_and_a_monitor_that_saw_nothing():
    with pytest.raises(ArgumentError, match="every must be a positive integer"):
        tg.Monitor(every=0)
    assert str(tg.Monitor()) == "nothing monitored yet" and tg.Monitor().findings() == []
    with pytest.raises(GradientError, match="nothing has been monitored"):
        tg.Monitor().table()
