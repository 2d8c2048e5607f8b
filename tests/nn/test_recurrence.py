"""Recurrent layers and cells: parameters, states, recordings, training. Values: see `recurrence_cases.py`."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError, ShapeError

KINDS = [nn.RNN, nn.LSTM, nn.GRU]
CELLS = {nn.RNN: nn.RNNCell, nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell}
GATES = {nn.RNN: 1, nn.LSTM: 4, nn.GRU: 3}


def draw(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def states_of(kind, hx):
    """Final states as a list."""
    return list(hx) if kind in (nn.LSTM, nn.LSTMCell) else [hx]


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_have_pytorchs_names_shapes_order_and_bounds(kind):
    tg.manual_seed(3)
    layer, rows = kind(5, 16, num_layers=2, bidirectional=True), GATES[kind] * 16
    shapes = {}
    for k, width in ((0, 5), (1, 32)):
        for end in ("", "_reverse"):
            shapes |= {f"weight_ih_l{k}{end}": (rows, width), f"weight_hh_l{k}{end}": (rows, 16),
                       f"bias_ih_l{k}{end}": (rows,), f"bias_hh_l{k}{end}": (rows,)}  # fmt: skip
    assert {name: p.shape for name, p in layer.named_parameters()} == shapes
    assert list(layer.state_dict()) == list(shapes)
    for p in layer.parameters():
        assert 0.15 < np.abs(p.numpy()).max() <= 0.25  # 1 / sqrt(16)
    assert list(kind(5, 16, bias=False).state_dict()) == ["weight_ih_l0", "weight_hh_l0"]
    cell = CELLS[kind](5, 16)
    assert {n: p.shape for n, p in cell.named_parameters()} == {
        "weight_ih": (rows, 5), "weight_hh": (rows, 16), "bias_ih": (rows,), "bias_hh": (rows,)}  # fmt: skip
    assert CELLS[kind](5, 16, bias=False).bias_ih is None
    assert repr(layer).startswith(f"{kind.__name__}(5, 16, num_layers=2, bidirectional=True)")


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_its_cell_step_by_step(kind):
    tg.manual_seed(4)
    layer, cell = kind(3, 4), CELLS[kind](3, 4)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    x, start = draw(6, 2, 3), [draw(2, 4, seed=k) for k in (2, 3)[: 2 if kind is nn.LSTM else 1]]
    given = [s[None] for s in start]
    output, last = layer(x, tuple(given) if kind is nn.LSTM else given[0])
    state = tuple(start) if kind is nn.LSTM else start[0]
    for t in range(6):
        state = cell(x[t], state)
        now = states_of(kind, state)
        np.testing.assert_allclose(output[t].numpy(), now[0].numpy(), rtol=0, atol=1e-6)
    for a, b in zip(states_of(kind, last), now):
        np.testing.assert_allclose(a[0].numpy(), b.numpy(), rtol=0, atol=1e-6)
    one = cell(x[0, 0], tuple(s[0] for s in start) if kind is nn.LSTM else start[0][0])
    np.testing.assert_allclose(states_of(kind, one)[0].numpy(), output[0, 0].numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_final_states_are_the_last_outputs_of_each_layer_and_direction(kind):
    layer = kind(3, 4, num_layers=2, bidirectional=True)
    output, last = layer(draw(5, 2, 3))
    h_n = states_of(kind, last)[0].numpy()
    assert h_n.shape == (4, 2, 4)
    np.testing.assert_array_equal(h_n[2], output[-1, :, :4].numpy())
    np.testing.assert_array_equal(h_n[3], output[0, :, 4:].numpy())
    rows = kind(3, 4, num_layers=2, bidirectional=True, batch_first=True)
    rows.load_state_dict(layer.state_dict())
    swapped, last = rows(draw(5, 2, 3).swapaxes(0, 1))
    np.testing.assert_array_equal(swapped.numpy().swapaxes(0, 1), output.numpy())
    np.testing.assert_array_equal(states_of(kind, last)[0].numpy(), h_n)
    alone, last = layer(draw(5, 2, 3)[:, 0])
    np.testing.assert_allclose(alone.numpy(), output[:, 0].numpy(), rtol=0, atol=1e-6)
    assert states_of(kind, last)[-1].shape == (4, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recorded_step_has_the_gradients_of_define_by_run(kind):
    tg.manual_seed(5)
    layer = kind(3, 4, num_layers=2, bidirectional=True, batch_first=True)
    weights = draw(2, 5, 8, seed=7), draw(4, 2, 4, seed=8)
    states = [draw(4, 2, 4, seed=9), draw(4, 2, 4, seed=10)][: 2 if kind is nn.LSTM else 1]

    def loss(x, *hx):
        output, last = layer(x, hx if kind is nn.LSTM else hx[0])
        return (output * weights[0]).sum() + sum((s * weights[1]).sum() for s in states_of(kind, last))

    x = draw(2, 5, 3)
    loss(x, *states).backward()
    expected = {name: p.grad.numpy() for name, p in layer.named_parameters()}
    before = {name: p.numpy() for name, p in layer.named_parameters()}
    step = tg.TrainStep(loss, optim.SGD(layer.parameters(), lr=1.0))
    step(x, *states)
    for name, p in layer.named_parameters():
        np.testing.assert_allclose(before[name] - p.numpy(), expected[name], rtol=0, atol=2e-5)


@pytest.mark.compiled
def test_five_hundred_steps_are_one_instruction():
    layer = nn.LSTM(2, 8)
    head = nn.Linear(8, 1)
    parameters = [*layer.parameters(), *head.parameters()]
    step = tg.TrainStep(lambda x: head(layer(x)[0][-1]).sum(), optim.SGD(parameters, lr=0.1))
    step(draw(500, 4, 2))
    assert str(step.tape).count("lstm") >= 1 and len(step.tape) < 10


@pytest.mark.compiled
def test_frozen_input_weights_keep_no_input():
    def kept(frozen):
        tg.manual_seed(0)
        body, layer = nn.Linear(64, 256), nn.LSTM(256, 2)
        if frozen:
            layer.weight_ih_l0.requires_grad_(False)
        step = tg.TrainStep(lambda x: layer(body(x))[0].sum(),
                            optim.SGD([*body.parameters(), *layer.parameters()], lr=0.1))
        step(draw(20, 8, 64))
        return step.memory().peak_bytes

    assert kept(False) - kept(True) > 0.5 * 20 * 8 * 256 * 4


@pytest.mark.compiled
def test_evaluation_holds_the_gates_of_a_block_only():
    layer, output = nn.LSTM(4, 64), 2000 * 4 * 64 * 4
    x = tg.tensor(draw(2000, 4, 4))
    with tg.Tape(keep=False) as tape, tg.no_grad():
        layer(x)
    assert tape.storage.peak_bytes < 3 * output  # the gates and cells of all steps would be 5 times as much


def test_dropout_acts_between_layers_in_training_only():
    tg.manual_seed(6)
    layer = nn.GRU(3, 8, num_layers=2, dropout=0.5)
    x = draw(5, 4, 3)
    first, second = layer(x)[0].numpy(), layer(x)[0].numpy()
    assert np.abs(first - second).max() > 1e-3
    first, second = layer(x)[1].numpy(), layer(x)[1].numpy()
    np.testing.assert_array_equal(first[0], second[0])  # the first layer reads the input as it is
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].numpy(), layer(x)[0].numpy())
    with pytest.warns(UserWarning, match="between layers"):
        nn.LSTM(3, 4, dropout=0.5)


@pytest.mark.compiled
def test_an_lstm_learns_to_recall_the_first_of_eight_inputs():
    tg.manual_seed(7)
    rng = np.random.default_rng(7)
    layer, head = nn.LSTM(1, 16, batch_first=True), nn.Linear(16, 1)
    step = tg.TrainStep(lambda x, y: ((head(layer(x)[0][:, -1]) - y) ** 2).mean(),
                        optim.Adam([*layer.parameters(), *head.parameters()], lr=0.02))  # fmt: skip
    for _ in range(300):
        x = rng.choice([-1.0, 1.0], (32, 8, 1)).astype(np.float32)
        last = step(x, x[:, 0])
    assert last < 0.05  # guessing gives 1


def test_wrong_arguments_name_the_layer():
    with pytest.raises(ArgumentError, match="proj_size=4; .* less than hidden_size=4"):
        nn.LSTM(3, 4, proj_size=4)
    with pytest.raises(ArgumentError, match="nonlinearity"):
        nn.RNN(3, 4, nonlinearity="sigmoid")
    with pytest.raises(ArgumentError, match="GRU: num_layers"):
        nn.GRU(3, 4, num_layers=0)
    with pytest.raises(ArgumentError, match="dropout"):
        nn.GRU(3, 4, dropout=1.5)
    layer = nn.LSTM(3, 4)
    with pytest.raises(ShapeError, match=r"LSTM\(3, 4\): an input of shape \[5, 2, 4\]"):
        layer(draw(5, 2, 4))
    with pytest.raises(ArgumentError, match="pair"):
        layer(draw(5, 2, 3), draw(1, 2, 4))
    with pytest.raises(ShapeError, match=r"\[2, 2, 4\].*expected \[1, 2, 4\]"):
        layer(draw(5, 2, 3), (draw(2, 2, 4), draw(1, 2, 4)))
    with pytest.raises(ShapeError, match=r"GRUCell: .*\[3, 4\].*expected \[2, 4\]"):
        nn.GRUCell(3, 4)(draw(2, 3), draw(3, 4))
    with pytest.raises(ShapeError, match="RNNCell"):
        nn.RNNCell(3, 4)(draw(2, 5))
    with pytest.raises(ShapeError, match="no steps"):
        layer(draw(0, 2, 3))
