"""`to_onnx`, judged by onnxruntime."""

import numpy as np
import pytest

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

import tapegrad as tg  # noqa: E402
import tapegrad.nn.functional as F  # noqa: E402
from tapegrad import nn  # noqa: E402

RNG = np.random.default_rng(0)


class Function(nn.Module):
    """A function of a linear map of the first argument, and of the arguments."""

    def __init__(self, function):
        super().__init__()
        self.function, self.map = function, nn.Linear(3, 3)

    def forward(self, *x):
        return self.function(self.map(x[0]), *x)


def floats(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def run(path, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {f"input{k}": a for k, a in enumerate(x)})


def assert_same(module, path, x):
    module.eval()
    mine = module(*x)
    for a, b in zip(run(path, x), mine if isinstance(mine, tuple) else [mine]):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-5, atol=1e-5)


def trained_norm(channels):
    norm = nn.BatchNorm2d(channels)
    norm(floats(8, channels, 3, 3) * 2 + 1)
    norm.weight.copy_(floats(channels))
    return norm


MODULES = {
    "perceptron": (nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4, bias=False), nn.Softmax(1)),
                   [floats(2, 3)]),
    "activations": (nn.Sequential(nn.LeakyReLU(0.1), nn.ELU(0.5), nn.SiLU(), nn.Hardtanh(), nn.Softplus(2.0), nn.SELU(),
                                  nn.GELU(), nn.GELU("tanh"), nn.Sigmoid(), nn.Tanh(), nn.LogSoftmax(-1)),
                    [floats(2, 3)]),
    "images": (nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, stride=2), trained_norm(4), nn.MaxPool2d(2), nn.Dropout(0.5),
                             nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 2)), [floats(2, 2, 8, 8)]),
    "windows": (nn.Sequential(nn.Conv2d(2, 4, (3, 2), groups=2, dilation=(1, 2), padding=(2, 0)),
                              nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), nn.AvgPool2d(2, padding=1),
                              nn.AdaptiveAvgPool2d(1), nn.Flatten()), [floats(2, 2, 8, 9)]),
    "signals": (nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.MaxPool1d(2), nn.GroupNorm(2, 4), nn.AvgPool1d(2)),
                [floats(2, 2, 8)]),
    "resampled": (nn.Sequential(nn.Upsample(scale_factor=2), nn.Upsample(size=(5, 11), mode="bilinear"),
                                nn.Upsample(scale_factor=1.5, mode="bilinear", align_corners=True)),
                  [floats(2, 2, 3, 4)]),
    "resampled signals": (nn.Sequential(nn.Upsample(scale_factor=2), nn.Upsample(size=5, mode="linear")),
                          [floats(2, 2, 4)]),
    "volumes": (nn.Conv3d(2, 3, 2), [floats(2, 2, 3, 4, 5)]),
    "transposed": (nn.Sequential(nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1),
                                 nn.ConvTranspose2d(3, 4, 2, bias=False)), [floats(2, 2, 4, 5)]),
    "words": (nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(9, 2)), [RNG.integers(0, 5, (2, 3))]),
    "encoder": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), [floats(2, 3, 8)]),
    "decoder": (nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), [floats(2, 3, 8), floats(2, 4, 8)]),
    "double": (nn.Sequential(nn.Linear(3, 4, dtype=np.float64), nn.Tanh()), [RNG.normal(size=(2, 3))]),
    "two of each": (Function(lambda z, a, b: (z + b * 2.0, tg.concatenate([a, b], axis=1))),
                    [floats(2, 3), floats(2, 3)]),
    "sums": (Function(lambda z, a: z.sum(axis=1) + z.mean(axis=2) + a.swapaxes(1, 2).max(axis=1)
                      + z.sum(axis=(1, 2))[:, None] + a.var(axis=1) + a.std(axis=2, ddof=1)), [floats(2, 3, 3)]),
    "views": (Function(lambda z, a: (z[:, 1:3, ::2].transpose(0, 2, 1), z[:, ::-1], tg.stack([z, a], axis=1)[:, 1],
                                     tg.broadcast_to(z[:, :1], (len(a), 4, 3)))), [floats(2, 4, 3)]),
    "places": (Function(lambda z, a: F.pad(z[:, np.array([2, 0])], (1, 2), value=0.5)), [floats(2, 3)]),
    "choices": (Function(lambda z, a: tg.where(z > 0, a, -a).clip(-1, 1) ** 3), [floats(2, 3)]),
    "causal": (Function(lambda z, a: F.scaled_dot_product_attention(z, a, a, is_causal=True)), [floats(2, 4, 3)]),
    "products": (Function(lambda z, a: F.softmax(z @ a.swapaxes(-1, -2), 1)), [floats(2, 4, 3)]),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_file_computes_what_the_module_does_for_any_length_of_the_batch(name, tmp_path):
    module, x = MODULES[name]
    tg.io.to_onnx(module, tmp_path / "m.onnx", tuple(x))
    for repeats in (1, 4):
        assert_same(module, tmp_path / "m.onnx", [np.concatenate([a] * repeats)[:7] for a in x])


def test_parameters_have_their_names_and_modes_are_restored(tmp_path):
    import onnx

    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    module[1].eval()
    tg.io.to_onnx(module, tmp_path / "m.onnx", floats(2, 3))
    names = {c.name for c in onnx.load(tmp_path / "m.onnx").graph.initializer}
    assert {"0.weight", "0.bias", "1.running_mean", "1.running_var"} <= names
    assert module.training and module[0].training and not module[1].training


@pytest.mark.parametrize("function, message", [
    (lambda z, a: tg.sort(z, axis=1), "argsort cannot be expressed.*test_onnx.py:"),
    (lambda z, a: z - z.mean(axis=0), "depends on the length.*dynamic_batch=False"),
    (lambda z, a: z * len(a), "depends on the length.*dynamic_batch=False"),
    (lambda z, a: z + tg.tensor(np.ones((len(a), 3), np.float32)), r"constant of shape \[2, 3\]"),
    (lambda z, a: z[:1] if len(a) == 2 else z * 2.0, "otherwise with another length"),
    (lambda z, a: "text", "str"),
    (lambda z, a: F.dropout(z, 0.5), "random"),
])
def test_what_cannot_be_expressed_is_refused_by_name_and_nothing_is_written(function, message, tmp_path):
    with pytest.raises(tg.TapegradError, match=message):
        tg.io.to_onnx(Function(function), tmp_path / "m.onnx", floats(2, 3))
    assert not list(tmp_path.iterdir())


def test_of_one_length_more_can_be_expressed(tmp_path):
    for function in (lambda z, a: z - z.mean(axis=0), lambda z, a: z * len(a), lambda z, a: z[::-1]):
        module, x = Function(function), floats(2, 3)
        tg.io.to_onnx(module, tmp_path / "m.onnx", x, dynamic_batch=False)
        assert_same(module, tmp_path / "m.onnx", [x])


def test_a_recurrence_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="lstm cannot be expressed.*layer LSTM"):
        tg.io.to_onnx(nn.LSTM(3, 4), tmp_path / "m.onnx", floats(2, 5, 3))


def test_a_file_that_would_be_wrong_is_not_written(tmp_path, monkeypatch):
    from tapegrad.io.onnx import operators

    monkeypatch.setitem(operators.OPERATORS, "tanh", operators.OPERATORS["sigmoid"])
    with pytest.raises(ValueError, match="not the module's"):
        tg.io.to_onnx(nn.Tanh(), tmp_path / "m.onnx", floats(2, 3))
    assert not list(tmp_path.iterdir())


def test_short_rows_are_expressed_whichever_form_of_the_ops_their_number_takes(tmp_path):
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(np.arange(4, dtype=np.float32))

        def forward(self, x):
            return (x * self.w).sum(1)

    module, x = Weighted(), floats(31, 4)
    tg.io.to_onnx(module, tmp_path / "m.onnx", x)
    assert_same(module, tmp_path / "m.onnx", [x])
