"""Module: registration, walking, modes, freezing, text, copies."""

import copy
import pickle

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.scale = nn.Parameter(np.ones(2, np.float32))
        self.register_buffer("seen", np.zeros(3, np.float32))

    def forward(self, x):
        x = self.hidden(x)
        for block in self.blocks:
            x = tg.tanh(block(x))
        return x.sum() * self.scale


NAMES = [
    "scale",
    "hidden.weight",
    "hidden.bias",
    "blocks.0.weight",
    "blocks.0.bias",
    "blocks.1.weight",
    "blocks.1.bias",
]


def test_parameters_come_in_order_of_assignment_with_dotted_names():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [name for name, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert [name for name, _ in net.named_parameters(prefix="net")][:2] == ["net.scale", "net.hidden.weight"]
    assert [p.shape for p in net.parameters()] == [(2,), (4, 3), (4,), (4, 4), (4,), (4, 4), (4,)]
    assert all(
        isinstance(p, nn.Parameter) and p.requires_grad and p.dtype == np.float32 for p in net.parameters()
    )


def test_modules_children_and_buffers_come_with_names():
    net = Net()
    assert [name for name, _ in net.named_modules()] == ["", "hidden", "blocks", "blocks.0", "blocks.1"]
    assert next(iter(net.modules())) is net
    assert [name for name, _ in net.named_children()] == ["hidden", "blocks"]
    assert list(net.children()) == [net.hidden, net.blocks]
    assert [name for name, _ in net.named_buffers()] == ["seen"]
    assert [b.shape for b in net.buffers()] == [(3,)]


def test_a_shared_parameter_and_a_shared_module_come_once():
    first = nn.Linear(3, 3)
    model = nn.Sequential(first, nn.ReLU(), first)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    assert len(list(model.modules())) == 3
    second = nn.Linear(3, 3)
    second.weight = first.weight
    tied = nn.Sequential(first, second)
    assert [name for name, _ in tied.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert tied.num_parameters() == 9 + 3 + 3
    assert len(list(tied.named_parameters(remove_duplicate=False))) == 4


def test_gradients_of_a_shared_parameter_add_up():
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.copy_(np.array([[3.0]]))
    nn.Sequential(layer, layer)(tg.tensor([[2.0]])).backward()
    assert layer.weight.grad.item() == pytest.approx(2 * 3.0 * 2.0)  # d(w w x)/dw = 2 w x


def test_get_submodule_parameter_and_buffer_walk_dotted_names():
    net = Net()
    assert net.get_submodule("") is net
    assert net.get_submodule("blocks.1") is net.blocks[1]
    assert net.get_parameter("blocks.1.bias") is net.blocks[1].bias
    assert net.get_buffer("seen") is net.seen
    with pytest.raises(
        AttributeError, match=r"blocks has no submodule '7' \(asked for 'blocks.7'\).*'0', '1'"
    ):
        net.get_submodule("blocks.7")
    with pytest.raises(AttributeError, match=r"hidden has no parameter 'wait'.*bias.*weight"):
        net.get_parameter("hidden.wait")


def test_assigning_before_init_says_what_to_do():
    class Late(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 2)
            super().__init__()

    with pytest.raises(AttributeError, match=r"Late: call super\(\).__init__\(\)"):
        Late()

    class Never(nn.Module):
        def __init__(self) -> None:
            self.size = 3

    with pytest.raises(AttributeError, match=r"Never: call super\(\).__init__\(\)"):
        list(Never().parameters())


def test_an_attribute_that_is_missing_is_named():
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'hiden'"):
        Net().hiden  # noqa: B018
    assert not hasattr(Net(), "hiden")


def test_registered_attributes_are_replaced_deleted_and_guarded():
    net = Net()
    net.scale = nn.Parameter(np.zeros(5))
    assert net.get_parameter("scale").shape == (5,)
    with pytest.raises(TypeError, match=r"Net.scale holds an nn.Parameter; cannot assign ndarray"):
        net.scale = np.zeros(5)
    with pytest.raises(TypeError, match=r"Net.hidden holds an nn.Module; cannot assign str"):
        net.hidden = "linear"
    net.scale = None
    assert "scale" not in dict(net.named_parameters()) and net.scale is None
    net.seen = tg.tensor([1.0])
    assert [b.shape for b in net.buffers()] == [(1,)]
    del net.seen
    assert list(net.buffers()) == [] and not hasattr(net, "seen")
    net.plain = nn.Linear(1, 1)
    net.plain = nn.Parameter(np.ones(1))  # a parameter may take a module's place
    assert "plain" in dict(net.named_parameters()) and "plain" not in dict(net.named_modules())
    net.number = 1
    net.number = nn.Linear(1, 1)  # and a module that of a plain attribute
    assert "number" in dict(net.named_modules())
    assert {"hidden", "blocks", "number", "forward"} <= set(dir(net))


@pytest.mark.parametrize("name", ["", "a.b", 3])
def test_names_without_dots_only(name):
    with pytest.raises(ValueError, match="name"):
        nn.Module().register_parameter(name, nn.Parameter(np.ones(1)))


def test_registering_what_is_not_one_or_exists_is_refused():
    net = Net()
    with pytest.raises(TypeError, match=r"cannot register ndarray as parameter 'w'; wrap it in nn.Parameter"):
        net.register_parameter("w", np.ones(2))
    with pytest.raises(TypeError, match="cannot register function as module 'f'"):
        net.add_module("f", lambda x: x)
    with pytest.raises(ValueError, match="Net already has an attribute 'forward'"):
        net.register_parameter("forward", nn.Parameter(np.ones(1)))
    with pytest.raises(ValueError, match="Net already has an attribute 'hidden'"):
        net.register_buffer("hidden", np.ones(1))


def test_forward_has_to_be_defined():
    with pytest.raises(NotImplementedError, match="Module does not define forward"):
        nn.Module()(1)


def test_train_and_eval_reach_every_module():
    net = Net()
    assert net.training
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert net.train() is net
    assert all(module.training for module in net.modules())
    with pytest.raises(ValueError, match="boolean"):
        net.train("yes")


def test_freeze_and_unfreeze_switch_requires_grad():
    net = Net()
    assert net.hidden.freeze() is net.hidden
    assert [p.requires_grad for p in net.parameters()] == [True, False, False, True, True, True, True]
    assert net.num_parameters() == 2 + 16 + 20 + 20
    assert net.num_parameters(trainable_only=True) == 2 + 20 + 20
    net.freeze()
    assert not any(p.requires_grad for p in net.parameters())
    assert net.unfreeze() is net
    assert all(p.requires_grad for p in net.parameters())


def test_layers_and_parameters_are_frozen_by_name():
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4)), nn.Linear(4, 1))

    def trained():
        return [name for name, p in model.named_parameters() if p.requires_grad]

    assert model.freeze("0.0", "1.bias") is model
    assert trained() == ["0.2.weight", "0.2.bias", "1.weight"]
    assert model.unfreeze("0.0.bias").unfreeze("1.bias") is model
    assert trained() == ["0.0.bias", "0.2.weight", "0.2.bias", "1.weight", "1.bias"]
    model.freeze("0")
    assert trained() == ["1.weight", "1.bias"]
    model.unfreeze()
    assert len(trained()) == 6


def test_a_shared_layer_is_frozen_by_any_of_its_names():
    first = nn.Linear(3, 3)
    model = nn.Sequential(first, nn.Tanh(), first)
    model.freeze("2")
    assert not first.weight.requires_grad


@pytest.mark.parametrize("what", ["freeze", "unfreeze"])
@pytest.mark.parametrize(("name", "message"), [
    ("hiden", r"Net.WHAT: no layer or parameter 'hiden'; the nearest are hidden"),
    ("hidden.wieght", r"'hidden.wieght'; the nearest are hidden.weight"),
    ("Hidden", r"nearest are hidden"),
    ("qqq", r"no layer or parameter 'qqq'; there are hidden"),
    ("", r"no layer or parameter ''; there are hidden"),
    (0, r"0 of type int is no name"),
    (None, r"None of type NoneType is no name"),
])
def test_a_name_that_does_not_exist_is_an_error_with_the_nearest_and_changes_nothing(what, name, message):
    net = Net()
    before = [p.requires_grad for p in net.parameters()]
    with pytest.raises(ValueError, match=message.replace("WHAT", what)):
        getattr(net, what)("hidden", name)
    assert [p.requires_grad for p in net.parameters()] == before


def test_a_named_layer_without_parameters_is_an_error_that_lists_those_with():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), *[nn.Linear(4, 4) for _ in range(9)])
    with pytest.raises(ValueError, match=r"layer '1' \(ReLU\) has no parameters; those that have are 0, 2, 3, 4, 5, 6 "
                                         "and 4 more"):
        model.freeze("1")
    with pytest.raises(ValueError, match="there are none"):
        nn.ReLU().freeze("x")
    with pytest.raises(ValueError, match="there are weight, bias"):
        nn.Linear(2, 2).freeze("x")


def test_a_frozen_layer_gets_no_gradient_and_gets_one_again_when_unfrozen():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    x = np.ones((2, 3), np.float32)
    model[0].freeze()
    model(tg.tensor(x)).sum().backward()
    assert model[0].weight.grad is None and model[2].weight.grad is not None
    model.zero_grad()
    model.unfreeze()
    model(tg.tensor(x)).sum().backward()
    assert model[0].weight.grad is not None


def test_zero_grad_forgets_or_clears():
    layer = nn.Linear(2, 1)
    layer(tg.tensor(np.ones((1, 2), np.float32))).backward()
    assert layer.weight.grad.numpy().tolist() == [[1.0, 1.0]]
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.numpy().tolist() == [[0.0, 0.0]]
    layer.zero_grad()
    assert layer.weight.grad is None and layer.bias.grad is None


def test_apply_reaches_children_before_their_parent():
    seen = []
    net = Net()
    assert net.apply(seen.append) is net
    assert seen == [net.hidden, net.blocks[0], net.blocks[1], net.blocks, net]


def test_double_and_float_convert_parameters_and_float_buffers_in_place():
    net = Net()
    net.register_buffer("count", np.array(3))
    before = dict(net.named_parameters())
    values = net.hidden.weight.numpy()
    net.hidden.bias.requires_grad_(False)
    assert net.double() is net
    assert all(p.dtype == np.float64 and p is before[name] for name, p in net.named_parameters())
    assert net.seen.dtype == np.float64 and net.count.dtype == np.int64
    assert np.array_equal(net.hidden.weight.numpy(), values)
    assert not net.hidden.bias.requires_grad and net.hidden.weight.requires_grad
    assert net(tg.tensor(np.ones((1, 3)))).dtype == np.float64
    assert net.to("float32").hidden.weight.dtype == np.float32
    with pytest.raises(TypeError, match="float16"):
        net.to(np.float16)
    with pytest.raises(TypeError, match="'cuda' is not a dtype"):
        net.to("cuda")


def test_conversion_is_refused_once_an_optimiser_holds_the_parameters():
    model = nn.Linear(2, 1)
    optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="an optimiser holds weight as float32"):
        model.double()
    assert copy.deepcopy(model).double().weight.dtype == np.float64


def test_parameter_takes_arrays_and_tensors():
    assert nn.Parameter([1, 2]).dtype == np.float32
    assert nn.Parameter(np.ones(2)).dtype == np.float64
    assert nn.Parameter(np.ones(2), dtype=np.float32).dtype == np.float32
    assert nn.Parameter(np.ones(2), dtype=np.float64).dtype == np.float64
    assert nn.Parameter(tg.tensor(np.ones(2))).dtype == np.float64
    assert not nn.Parameter([1.0], requires_grad=False).requires_grad
    source = np.ones(2, np.float32)
    parameter = nn.Parameter(source)
    source[0] = 5
    assert parameter.numpy().tolist() == [1.0, 1.0]
    with pytest.raises(TypeError, match="float32 or float64"):
        nn.Parameter([1.0], dtype=np.int64)
    assert repr(parameter).startswith("Parameter containing:\ntensor([1., 1.]")


def test_repr_is_nested_and_counts_parameters():
    net = Net()
    net.hidden.freeze()
    assert repr(net) == (
        "Net(\n"
        "  (hidden): Linear(in_features=3, out_features=4, bias=True)  # 16 parameters, frozen\n"
        "  (blocks): ModuleList(\n"
        "    (0-1): 2 x Linear(in_features=4, out_features=4, bias=True)  # 20 parameters each\n"
        "  )  # 40 parameters\n"
        ")\n"
        "# total: 58 parameters, 42 trainable"
    )
    assert (
        repr(nn.Linear(64, 128)) == "Linear(in_features=64, out_features=128, bias=True)  # 8,320 parameters"
    )
    assert repr(nn.Sequential(nn.ReLU())) == "Sequential(\n  (0): ReLU()\n)"
    assert repr(nn.Sequential()) == "Sequential()"


def test_repr_keeps_a_childs_own_repr():
    class Odd(nn.Module):
        def __repr__(self) -> str:
            return "Odd<\n>"

    assert repr(nn.Sequential(Odd())) == "Sequential(\n  (0): Odd<\n  >\n)"


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"]
)
def test_copies_have_values_of_their_own_and_keep_what_is_shared(duplicate):
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    model = nn.Sequential(first, nn.Dropout(0.25), second).eval()
    model[2].bias.requires_grad_(False)
    model.register_buffer("seen", np.arange(3))
    twin = duplicate(model)
    assert repr(twin) == repr(model) and not twin.training and twin[1].p == 0.25
    assert twin[0].weight is twin[2].weight and twin[0].weight is not model[0].weight
    for (name, p), (other, q) in zip(model.named_parameters(), twin.named_parameters(), strict=True):
        assert name == other and p.requires_grad == q.requires_grad and p.dtype == q.dtype
        assert np.array_equal(p.numpy(), q.numpy())
    assert np.array_equal(twin.seen.numpy(), np.arange(3))
    twin[0].weight.copy_(np.zeros((3, 3)))
    assert np.any(model[0].weight.numpy() != 0)
    x = tg.tensor(np.ones((1, 3), np.float32))
    twin(x).sum().backward()
    assert model[0].weight.grad is None


def test_a_copy_has_no_gradient():
    layer = nn.Linear(2, 1)
    layer(tg.tensor(np.ones((1, 2), np.float32))).backward()
    assert copy.deepcopy(layer).weight.grad is None


# ------------------------------------------------------------------
# assignments that would be swallowed


@pytest.mark.parametrize("name", ["data", "require_grad", "required_grad", "requires_gradient", "grads"])
def test_an_attribute_of_a_parameter_that_would_do_nothing_is_refused(name):
    layer = nn.Linear(2, 3)
    before = layer.weight.numpy()
    with pytest.raises(AttributeError, match="copy_") as caught:
        setattr(layer.weight, name, np.zeros((3, 2)))
    assert isinstance(caught.value, tg.TapegradError) and not hasattr(layer.weight, name)
    np.testing.assert_array_equal(layer.weight.numpy(), before)


def test_attributes_of_a_parameter_that_mean_something_are_taken():
    p = nn.Parameter(np.ones(2))
    p.requires_grad = False
    p.no_decay = True
    p.requires_grad = True
    p.grad = np.full(2, 3.0)
    assert p.no_decay and p.requires_grad and p.grad.numpy().tolist() == [3.0, 3.0]


@pytest.mark.parametrize("name, value", [("requires_grad", False), ("require_grad", False), ("eval", True),
                                         ("train", False), ("freeze", True), ("zero_grad", None), ("modules", [])])
def test_an_attribute_of_a_module_that_would_do_nothing_is_refused(name, value):
    net = Net()
    with pytest.raises(AttributeError, match=name) as caught:
        setattr(net, name, value)
    assert isinstance(caught.value, tg.TapegradError)
    assert net.training and all(p.requires_grad for p in net.parameters())


def test_a_method_of_a_module_may_be_replaced_by_another_and_its_own_attributes_may_have_any_name():
    net = Net()
    net.forward = lambda x: x * 2.0
    net.data, net.grads = [1, 2], 3
    assert float(net(tg.tensor(2.0))) == 4.0 and net.data == [1, 2]
