"""state_dict and load_state_dict: names, copies, strictness, files from PyTorch."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn

from .test_parity import REFERENCE

PYTORCH_FILE = Path(__file__).with_name("pytorch_model.safetensors")


def pytorchs_model() -> nn.Module:
    """The architecture of `record_pytorch.py`."""
    encoder = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4, bias=False))
    return nn.Sequential(OrderedDict(encoder=encoder, activation=nn.ReLU(), head=nn.Linear(4, 2)))


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.register_buffer("mean", np.zeros(3, np.float32))
        self.register_buffer("count", np.array(0))
        self.register_buffer("cache", np.ones(2), persistent=False)


def test_names_shapes_and_order_are_pytorchs():
    state = pytorchs_model().state_dict()
    assert {name: array.shape for name, array in state.items()} == {
        "encoder.0.weight": (5, 3), "encoder.0.bias": (5,), "encoder.2.weight": (4, 5),
        "head.weight": (2, 4), "head.bias": (2,),
    }  # fmt: skip
    assert list(Counted().state_dict()) == ["mean", "count", "layer.weight", "layer.bias"]
    assert list(nn.Linear(1, 1).state_dict(prefix="a.")) == ["a.weight", "a.bias"]


def test_a_state_is_a_copy():
    model = nn.Linear(2, 2)
    state = model.state_dict()
    assert all(type(array) is np.ndarray for array in state.values())
    kept = state["weight"].copy()
    model.weight.copy_(np.zeros((2, 2)))
    assert np.array_equal(state["weight"], kept)
    state["bias"][:] = 7
    assert not np.any(model.bias.numpy() == 7)


def test_a_state_goes_back_into_another_model():
    one, other = pytorchs_model(), pytorchs_model()
    parameters = list(other.parameters())
    result = other.load_state_dict(one.state_dict())
    assert result == ([], []) and result.missing_keys == []
    assert all(p is q for p, q in zip(parameters, other.parameters(), strict=True))
    for name, array in one.state_dict().items():
        assert np.array_equal(other.state_dict()[name], array)


def test_buffers_travel_and_transient_ones_do_not():
    model = Counted()
    model.load_state_dict({**model.state_dict(), "mean": np.array([1.0, 2.0, 3.0]), "count": np.array(5)})
    assert model.mean.numpy().tolist() == [1.0, 2.0, 3.0] and model.count.item() == 5
    assert model.count.dtype == np.int64
    with pytest.raises(ValueError, match=r"unexpected keys \(1\): cache"):
        model.load_state_dict({**model.state_dict(), "cache": np.ones(2)})


def test_every_fault_is_named_and_nothing_is_written():
    model = pytorchs_model()
    before = model.state_dict()
    state = {name: np.ones_like(array) for name, array in before.items()}
    del state["encoder.0.bias"], state["head.bias"]
    state["head.extra"] = np.ones(1)
    state["encoder.2.weight"] = np.ones((5, 4))
    state["head.weight"] = np.ones((2, 4, 1))
    with pytest.raises(tg.StateDictError) as caught:
        model.load_state_dict(state)
    message = str(caught.value)
    assert isinstance(caught.value, (KeyError, ValueError))
    for part in (
        "does not fit Sequential", "unchanged", "missing keys (2): encoder.0.bias, head.bias",
        "unexpected keys (1): head.extra", "encoder.2.weight: the state has shape [5, 4], the module [4, 5]",
        "head.weight: the state has shape [2, 4, 1], the module [2, 4]",
    ):  # fmt: skip
        assert part in message
    for name, array in model.state_dict().items():
        assert np.array_equal(array, before[name])


def test_not_strict_loads_what_fits_and_says_what_did_not():
    model = pytorchs_model()
    bias = model.head.bias.numpy()
    result = model.load_state_dict(
        {"head.weight": np.full((2, 4), 2.0), "tail.weight": np.ones(1)}, strict=False
    )
    assert result.unexpected_keys == ["tail.weight"] and "head.bias" in result.missing_keys
    assert np.all(model.head.weight.numpy() == 2.0) and np.array_equal(model.head.bias.numpy(), bias)
    with pytest.raises(ValueError, match=r"head.weight: the state has shape \[3\], the module \[2, 4\]"):
        model.load_state_dict({"head.weight": np.ones(3)}, strict=False)


def test_a_common_prefix_is_found():
    model = nn.Linear(2, 2)
    state = {f"module.{name}": array for name, array in model.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"every key starts with 'module.': pass \{k.removeprefix\('module.'\): v"
    ):
        model.load_state_dict(state)


def test_values_are_cast_to_the_modules_dtype():
    model = nn.Linear(1, 2)
    model.load_state_dict(
        {"weight": np.array([[1.5], [2.0]], np.float16), "bias": tg.tensor(np.array([1.0, 2.0]))}
    )
    assert model.weight.dtype == np.float32 and model.weight.numpy().tolist() == [[1.5], [2.0]]
    model.load_state_dict({"weight": [[1], [2]], "bias": np.array([3, 4])})
    assert model.bias.numpy().tolist() == [3.0, 4.0]


@pytest.mark.parametrize("bad", [np.array(["a", "b"]), np.array([1j, 2.0]), np.array([None, 1.0])])
def test_values_that_are_no_numbers_are_refused(bad):
    with pytest.raises(ValueError, match=r"bias: the state has dtype .*, which cannot become float32"):
        nn.Linear(1, 2).load_state_dict({"weight": np.ones((2, 1)), "bias": bad})


def test_floats_do_not_go_into_an_integer_buffer():
    model = Counted()
    with pytest.raises(ValueError, match="count: the state has dtype float64, which cannot become int64"):
        model.load_state_dict({**model.state_dict(), "count": np.array(1.5)})


def test_what_is_no_state_is_refused():
    with pytest.raises(ValueError, match=r"got str; read a file with tg.load\(path\)"):
        nn.Linear(1, 1).load_state_dict("model.safetensors")
    with pytest.raises(ValueError, match="got list"):
        nn.Linear(1, 1).load_state_dict([1, 2])


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    return model


def test_a_shared_parameter_is_saved_under_each_name_and_needs_only_one():
    model = tied()
    assert list(model.state_dict()) == ["0.weight", "1.weight"]
    model.load_state_dict({"1.weight": np.ones((2, 2))})
    assert np.all(model[0].weight.numpy() == 1.0)
    with pytest.raises(
        ValueError, match=r"1.weight: is one tensor with 0.weight in the module, but their values differ"
    ):
        model.load_state_dict({"0.weight": np.zeros((2, 2)), "1.weight": np.ones((2, 2))})


def test_tensors_of_another_library_are_taken():
    class Foreign:  # the part of PyTorch's tensor that matters
        def detach(self):
            return self

        def cpu(self):
            return self

        def numpy(self):
            return np.array([3.0], np.float32)

    class Brain(Foreign):
        def numpy(self):
            raise TypeError("Got unsupported ScalarType BFloat16")

        def float(self):
            return Foreign()

    model = nn.Linear(1, 1)
    model.load_state_dict({"weight": np.ones((1, 1)), "bias": Foreign()})
    assert model.bias.numpy().tolist() == [3.0]
    model.load_state_dict({"weight": np.ones((1, 1)), "bias": Brain()})


def test_a_file_that_pytorch_wrote_gives_pytorchs_outputs():
    model = pytorchs_model()
    model.load_state_dict(tg.load(PYTORCH_FILE))
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    np.testing.assert_allclose(model(tg.tensor(x)).numpy().ravel(), REFERENCE["model"], rtol=1e-5, atol=1e-6)


def test_a_file_written_here_holds_what_pytorch_wrote(tmp_path):
    from safetensors import safe_open

    model = pytorchs_model()
    model.load_state_dict(tg.load(PYTORCH_FILE))
    tg.save(model.state_dict(), tmp_path / "model.safetensors")
    with (
        safe_open(PYTORCH_FILE, "numpy") as want,
        safe_open(tmp_path / "model.safetensors", "numpy") as found,
    ):
        assert set(want.keys()) == set(found.keys())
        for name in want.keys():  # noqa: SIM118
            assert found.get_tensor(name).dtype == want.get_tensor(name).dtype
            assert np.array_equal(found.get_tensor(name), want.get_tensor(name))
