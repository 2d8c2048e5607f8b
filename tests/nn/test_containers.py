"""Sequential, ModuleList, ModuleDict, ParameterList."""

from collections import OrderedDict

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn


class Add(nn.Module):
    def __init__(self, term: float) -> None:
        super().__init__()
        self.term = term

    def forward(self, x):
        return x + self.term


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def test_sequential_applies_its_modules_in_order():
    assert nn.Sequential(Add(2.0), Times(3.0))(tg.tensor(1.0)).item() == 9.0
    assert nn.Sequential(Times(3.0), Add(2.0))(tg.tensor(1.0)).item() == 5.0
    assert nn.Sequential()(tg.tensor(1.0)).item() == 1.0


def test_sequential_takes_names_from_a_dict():
    model = nn.Sequential(OrderedDict(first=nn.Linear(2, 3), act=nn.ReLU(), last=nn.Linear(3, 1)))
    assert [name for name, _ in model.named_parameters()] == [
        "first.weight",
        "first.bias",
        "last.weight",
        "last.bias",
    ]
    assert model.first is model[0] and model[-1] is model.last


def test_sequential_indexes_slices_and_iterates():
    layers = [Add(1.0), Add(2.0), Add(3.0)]
    model = nn.Sequential(*layers)
    assert len(model) == 3 and list(model) == layers and model[-1] is layers[2] and layers[1] in model
    part = model[1:]
    assert isinstance(part, nn.Sequential) and list(part) == layers[1:]
    assert [name for name, _ in part.named_children()] == [
        "1",
        "2",
    ]  # so that a state dict's names go on fitting
    with pytest.raises(IndexError, match="has 3 modules; index 3 is out of range"):
        model[3]


def test_a_slice_can_grow_without_losing_a_module():
    part = nn.Sequential(Add(1.0), Add(2.0), Add(3.0))[1:].append(Add(4.0))
    assert [layer.term for layer in part] == [2.0, 3.0, 4.0]


def test_sequential_grows_shrinks_and_renumbers():
    model = nn.Sequential(Add(1.0))
    assert model.append(Add(2.0)) is model
    model.extend([Add(3.0), Add(4.0)])
    model.insert(1, Add(1.5))
    assert [layer.term for layer in model] == [1.0, 1.5, 2.0, 3.0, 4.0]
    del model[0]
    del model[2:]
    assert [(name, layer.term) for name, layer in model.named_children()] == [("0", 1.5), ("1", 2.0)]
    model[0] = Add(9.0)
    assert model.pop(0).term == 9.0 and len(model) == 1


def test_insert_into_a_named_sequential_is_refused():
    with pytest.raises(ValueError, match="have names of their own: \\['a'\\]"):
        nn.Sequential({"a": Add(1.0)}).insert(0, Add(2.0))


def test_what_is_no_module_is_refused_by_name():
    with pytest.raises(TypeError, match="Sequential holds modules, got function"):
        nn.Sequential(nn.Linear(1, 1), lambda x: x)
    with pytest.raises(TypeError, match="ModuleList holds modules, got int"):
        nn.ModuleList([3])
    with pytest.raises(TypeError, match="cannot register int as module 'a'"):
        nn.ModuleDict({"a": 3})


def test_module_list_registers_and_slices():
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    assert [name for name, _ in layers.named_parameters()][:2] == ["0.weight", "0.bias"]
    assert isinstance(layers[1:], nn.ModuleList) and [n for n, _ in layers[1:].named_children()] == ["0", "1"]
    with pytest.raises(NotImplementedError, match="ModuleList"):
        layers(1)


def test_module_dict_is_a_dict():
    layers = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.ReLU()})
    layers["c"] = nn.Tanh()
    assert list(layers) == list(layers.keys()) == ["a", "b", "c"] and "a" in layers and len(layers) == 3
    assert [type(m) for m in layers.values()] == [nn.Linear, nn.ReLU, nn.Tanh]
    assert [name for name, _ in layers.named_parameters()] == ["a.weight", "a.bias"]
    assert isinstance(layers.pop("b"), nn.ReLU)
    del layers["c"]
    assert [name for name, _ in layers.items()] == ["a"]
    layers.clear()
    assert len(layers) == 0


def test_parameter_list_registers_and_counts():
    many = nn.ParameterList([np.ones(2), nn.Parameter(np.zeros((2, 3)))]).append(tg.tensor([1.0]))
    assert [name for name, _ in many.named_parameters()] == ["0", "1", "2"]
    assert len(many) == 3 and many[1].shape == (2, 3) and [p.size for p in many] == [2, 6, 1]
    many[0] = np.ones(4)
    assert many[0].shape == (4,)
    assert "(1): Parameter of float64[2, 3]" in repr(many)


def test_a_dict_of_parameters_registers_them_by_name():
    parameters = nn.ParameterDict({"left": np.ones(2), "right": nn.Parameter(np.zeros((2, 3)))})
    parameters["more"] = [1.0, 2.0]
    assert [name for name, _ in parameters.named_parameters()] == ["left", "right", "more"]
    assert list(parameters.state_dict()) == list(parameters) == list(parameters.keys()) == ["left", "right", "more"]
    assert len(parameters) == 3 and "left" in parameters and parameters["left"].requires_grad
    shared = parameters.copy()
    assert shared["left"] is parameters["left"]
    assert parameters.pop("left") is shared["left"] and "left" in shared
    assert parameters.popitem()[0] == "more" and parameters.get("more") is None
    assert parameters.setdefault("right", 5.0) is parameters["right"]
    del parameters["right"]
    assert not list(parameters.parameters())
    with pytest.raises(ValueError, match="dot"):
        shared["a.b"] = np.ones(1)
