"""MultiheadAttention and positions: names, masks, weights, both modes. Numbers beside PyTorch's: `attention_cases`."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError, DtypeError, ShapeError

CAUSAL = np.triu(np.ones((5, 5), bool), 1)


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def made(embed_dim=6, num_heads=2, **options):
    tg.manual_seed(0)
    return nn.MultiheadAttention(embed_dim, num_heads, batch_first=True, **options)


def test_names_and_shapes_in_the_state_dict_are_pytorchs():
    def shapes(**options):
        return {name: array.shape for name, array in nn.MultiheadAttention(4, 2, **options).state_dict().items()}

    projections = {"in_proj_weight": (12, 4), "in_proj_bias": (12,), "out_proj.weight": (4, 4), "out_proj.bias": (4,)}
    assert shapes() == projections
    assert list(shapes()) == list(projections)
    assert list(shapes(bias=False)) == ["in_proj_weight", "out_proj.weight"]
    apart = shapes(kdim=5, vdim=6, add_bias_kv=True)
    assert list(apart) == ["q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias", "bias_k", "bias_v",
                           "out_proj.weight", "out_proj.bias"]  # fmt: skip
    assert (apart["k_proj_weight"], apart["v_proj_weight"], apart["bias_k"]) == ((4, 5), (4, 6), (1, 1, 4))


def test_biases_begin_at_zero_and_weights_within_glorots_bound():
    layer = made(64, 4)
    assert not layer.in_proj_bias.numpy().any()
    assert not layer.out_proj.bias.numpy().any()
    bound = np.sqrt(6 / (64 + 192))
    assert 0.95 * bound < np.abs(layer.in_proj_weight.numpy()).max() <= bound


def test_the_output_does_not_depend_on_whether_weights_are_asked_for():
    layer, x, memory = made(), draw(1, 3, 5, 6), draw(2, 3, 4, 6)
    for mask in (None, draw(3, 5, 4), draw(4, 6, 5, 4) > 0.5):
        whole, weights = layer(x, memory, memory, attn_mask=mask)
        fused, nothing = layer(x, memory, memory, attn_mask=mask, need_weights=False)
        np.testing.assert_allclose(whole.numpy(), fused.numpy(), atol=2e-6)
        np.testing.assert_allclose(weights.numpy().sum(axis=-1), 1.0, atol=1e-6)
        assert weights.shape == (3, 5, 4)
        assert nothing is None
    assert layer(x, memory, memory, average_attn_weights=False)[1].shape == (3, 2, 5, 4)


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True, "add_zero_attn": True}], ids=["plain", "longer"])
def test_causality_needs_no_mask(options, need_weights):
    layer, x = made(**options), draw(1, 2, 5, 6)
    asked = layer(x, x, x, is_causal=True, need_weights=need_weights)
    masked = layer(x, x, x, attn_mask=CAUSAL, need_weights=need_weights)
    for a, b in zip(asked, masked):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


@pytest.mark.parametrize("form", ["bool", "float"])
@pytest.mark.parametrize("need_weights", [False, True])
def test_a_sequence_of_padding_alone_gives_the_bias_and_finite_gradients(form, need_weights):
    layer, x = made(), tg.tensor(draw(1, 2, 5, 6), requires_grad=True)
    padding = np.array([[True] * 5, [False] * 5])
    if form == "float":
        padding = np.where(padding, -np.inf, 0.0).astype(np.float32)
    output, weights = layer(x, x, x, key_padding_mask=padding, need_weights=need_weights)
    np.testing.assert_allclose(output.numpy()[0], np.broadcast_to(layer.out_proj.bias.numpy(), (5, 6)), atol=1e-7)
    output.square().sum().backward()
    assert np.isfinite(layer.in_proj_weight.grad.numpy()).all()
    assert not x.grad.numpy()[0].any()
    if need_weights:
        assert not weights.numpy()[0].any()


@pytest.mark.parametrize("need_weights", [False, True])
def test_a_recorded_step_trains_as_define_by_run_does(need_weights):
    padding = np.arange(5) >= np.array([3, 5, 4])[:, None]

    def losses(recorded):
        layer, x = made(), draw(1, 3, 5, 6)
        opt = optim.SGD(layer.parameters(), lr=0.1)

        def loss(x, padding):
            return layer(x, x, x, padding, need_weights, CAUSAL)[0].square().mean()

        if recorded:
            step = tg.TrainStep(loss, opt)
            return [step(x, padding) for _ in range(4)]
        found = []
        for _ in range(4):
            opt.zero_grad()
            value = loss(x, padding)
            value.backward()
            opt.step()
            found.append(value.item())
        return found

    np.testing.assert_allclose(losses(True), losses(False), rtol=1e-5)
    assert losses(True)[-1] < losses(True)[0]


def test_self_attention_is_one_product_one_attention_and_one_product():
    layer, x = made(), draw(1, 3, 5, 6)
    step = tg.TrainStep(lambda x: layer(x, x, x, need_weights=False, is_causal=True)[0].sum(),
                        optim.SGD(layer.parameters(), lr=0.1))  # fmt: skip
    step(x)
    ops = [line.split()[1] for line in str(step.tape).splitlines()[1:] if line.strip()]
    assert [op for op in ops if op != "scratch"][:4] == ["linear", "attention", "linear", "sum"]


def test_dropout_is_of_training_alone():
    layer, x = made(dropout=0.5), draw(1, 2, 5, 6)
    assert (layer(x, x, x, need_weights=False)[0].numpy() != layer(x, x, x, need_weights=False)[0].numpy()).any()
    assert (layer(x, x, x)[1].numpy() == 0).any()
    layer.eval()
    assert (layer(x, x, x, need_weights=False)[0].numpy() == layer(x, x, x, need_weights=False)[0].numpy()).all()


def test_what_does_not_fit_is_named():
    layer, x = made(), draw(1, 2, 5, 6)
    with pytest.raises(ArgumentError, match="7.*3 heads"):
        nn.MultiheadAttention(7, 3)
    with pytest.raises(ShapeError, match=r"MultiheadAttention\(6, 2\).*\[2, 5, 4\]"):
        layer(x[..., :4], x, x)
    with pytest.raises(ShapeError, match=r"\[2, 5, 6\], \[2, 4, 6\], \[2, 5, 6\]"):
        layer(x, x[:, :4], x)
    with pytest.raises(ShapeError, match=r"attn_mask.*\[5, 4\].*\[5, 5\] or \[4, 5, 5\]"):
        layer(x, x, x, attn_mask=CAUSAL[:, :4])
    with pytest.raises(ShapeError, match=r"key_padding_mask.*\[5, 2\].*\[2, 5\]"):
        layer(x, x, x, np.zeros((5, 2), bool))
    with pytest.raises(DtypeError, match="attn_mask is int64"):
        layer(x, x, x, attn_mask=CAUSAL.astype(int))


def test_positions_as_modules():
    x = draw(1, 2, 3, 5, 4)
    rotary = nn.RotaryEmbedding(4)
    np.testing.assert_allclose(rotary(x, 2).numpy(), nn.functional.rotary_embedding(x, 2).numpy())
    assert not rotary.state_dict()
    with pytest.raises(ArgumentError, match="even"):
        nn.RotaryEmbedding(3)
    table = nn.functional.sinusoidal_positions(5, 4).numpy()
    x = draw(2, 5, 3, 4)
    np.testing.assert_allclose(nn.PositionalEncoding(4, 0.0)(x).numpy(), x + table[:, None], rtol=1e-6)
    np.testing.assert_allclose(nn.PositionalEncoding(4, 0.0, batch_first=True)(x.swapaxes(0, 1)).numpy(),
                               x.swapaxes(0, 1) + table, rtol=1e-6)  # fmt: skip
    dropped = nn.PositionalEncoding(4, 0.5)(x).numpy()
    assert 0 < (dropped == 0).mean() < 1
    with pytest.raises(ShapeError, match=r"PositionalEncoding\(4\).*\[5, 3\]"):
        nn.PositionalEncoding(4)(x[:, 0, :3])


def test_masks_take_the_layer_s_dtype_on_a_tape_that_has_one():
    layer = nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True).to(np.float64)
    x = np.random.default_rng(0).normal(size=(2, 3, 8))
    padding = np.array([[False, False, True], [False, True, True]])
    with tg.Tape():
        inside = layer(tg.tensor(x), tg.tensor(x), tg.tensor(x), key_padding_mask=padding, need_weights=False)[0]
        inside.sum().backward()
    outside = layer(tg.tensor(x), tg.tensor(x), tg.tensor(x), key_padding_mask=padding, need_weights=False)[0]
    np.testing.assert_array_equal(inside.numpy(), outside.numpy())
