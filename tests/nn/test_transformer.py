"""Encoders and decoders: names, stacks, causality, both modes. Numbers beside PyTorch's: `attention_cases`."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError

BLOCK = ["linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"]
HEADS = ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def encoder(layers=2, **options):
    tg.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, **{"batch_first": True, "dropout": 0.0, **options})
    return nn.TransformerEncoder(layer, layers, nn.LayerNorm(8))


def names(*norms):
    return [f"norm{n}.{part}" for n in norms for part in ("weight", "bias")]


def test_names_in_the_state_dict_are_pytorchs():
    own = [f"self_attn.{name}" for name in HEADS]
    assert list(nn.TransformerEncoderLayer(8, 2, 16).state_dict()) == [*own, *BLOCK, *names(1, 2)]
    other = [f"multihead_attn.{name}" for name in HEADS]
    assert list(nn.TransformerDecoderLayer(8, 2, 16).state_dict()) == [*own, *other, *BLOCK, *names(1, 2, 3)]
    assert not any("bias" in name for name in nn.TransformerEncoderLayer(8, 2, 16, bias=False).state_dict())
    keys = list(encoder().state_dict())
    assert keys[0] == "layers.0.self_attn.in_proj_weight"
    assert keys[-2:] == ["norm.weight", "norm.bias"]
    keys = list(nn.Transformer(8, 2, 1, 1, 16).state_dict())
    assert keys[0] == "encoder.layers.0.self_attn.in_proj_weight"
    assert keys[-1] == "decoder.norm.bias"


def test_a_stack_is_its_layers_one_after_another_with_parameters_of_their_own():
    model, x = encoder(), draw(1, 3, 5, 8)
    first, second = model.layers
    assert (first.linear1.weight.numpy() == second.linear1.weight.numpy()).all()
    want = model.norm(second(first(x)))
    np.testing.assert_array_equal(model(x).numpy(), want.numpy())
    model(x).sum().backward()
    assert (first.linear1.weight.grad.numpy() != second.linear1.weight.grad.numpy()).any()


@pytest.mark.parametrize("form", ["bool", "float"])
def test_a_mask_of_the_future_is_found_to_be_causal(form):
    mask = np.triu(np.ones((5, 5), bool), 1)
    if form == "float":
        mask = nn.Transformer.generate_square_subsequent_mask(5)
        assert (mask.numpy() == np.where(np.triu(np.ones((5, 5)), 1), -np.inf, 0)).all()
    model, x = encoder(), draw(1, 3, 5, 8)
    want = model(x, is_causal=True).numpy()
    np.testing.assert_allclose(model(x, mask).numpy(), want, atol=1e-6)
    seen = []
    layer = model.layers[0]
    layer.forward = lambda src, **given: (seen.append((given["src_mask"], given["is_causal"])), src)[1]
    model(x, mask)
    model(x, np.asarray(mask)[::-1])
    del layer.forward
    assert seen[0] == (None, True)
    assert seen[1][0] is not None
    assert seen[1][1] is False
    later = x.copy()
    later[:, 3:] = 7.0
    np.testing.assert_allclose(model(later, mask).numpy()[:, :3], want[:, :3], atol=1e-6)
    assert np.abs(model(later, np.zeros((5, 5), bool)).numpy()[:, :3] - want[:, :3]).max() > 1e-3


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_recorded_step_trains_as_define_by_run_does(norm_first):
    x = draw(1, 3, 5, 8)

    def losses(recorded):
        model = encoder(norm_first=norm_first, activation="gelu")
        opt = optim.Adam(model.parameters(), lr=1e-2)
        step = tg.TrainStep(lambda x: (model(x, is_causal=True) - 1.0).square().mean(), opt)
        if recorded:
            return [step(x) for _ in range(4)]
        found = []
        for _ in range(4):
            opt.zero_grad()
            value = (model(x, is_causal=True) - 1.0).square().mean()
            value.backward()
            opt.step()
            found.append(value.item())
        return found

    np.testing.assert_allclose(losses(True), losses(False), rtol=1e-5)


def test_a_decoder_sees_neither_the_future_nor_padded_memory():
    tg.manual_seed(0)
    model = nn.Transformer(8, 2, 1, 2, 16, dropout=0.0, batch_first=True)
    source, target = draw(1, 3, 6, 8), draw(2, 3, 5, 8)
    padding = np.arange(6) >= np.array([4, 6, 5])[:, None]
    options = {"src_key_padding_mask": padding, "memory_key_padding_mask": padding, "tgt_is_causal": True}
    want = model(source, target, **options).numpy()
    hidden, later = np.where(padding[..., None], 9.0, source).astype(np.float32), target.copy()
    later[:, 4] = 9.0
    found = model(hidden, later, **options).numpy()
    np.testing.assert_allclose(found[:, :4], want[:, :4], atol=1e-5)
    assert np.abs(found[:, 4] - want[:, 4]).max() > 1e-2


def test_dropout_is_of_training_alone_and_an_unknown_activation_is_refused():
    model, x = encoder(dropout=0.3), draw(1, 3, 5, 8)
    assert (model(x).numpy() != model(x).numpy()).any()
    model.eval()
    assert (model(x).numpy() == model(x).numpy()).all()
    with pytest.raises(ArgumentError, match="'relu', 'gelu'.*'swish'"):
        nn.TransformerEncoderLayer(8, 2, activation="swish")


@pytest.mark.compiled
def test_a_deeper_encoder_keeps_no_matrix_of_scores():
    tokens = 256

    def peak(layers):
        model = encoder(layers)
        step = tg.TrainStep(lambda x: model(x, is_causal=True).square().mean(), optim.SGD(model.parameters(), lr=0.1))
        step(draw(1, 1, tokens, 8))
        return step.memory().peak_bytes

    assert peak(3) - peak(2) < 4 * 2 * tokens * tokens / 4


@pytest.mark.compiled
def test_within_a_memory_budget_attention_is_computed_again_with_the_same_dropout():
    x = draw(1, 1, 96, 8)

    def trained(budget):
        model = encoder(3, dropout=0.2)
        tg.manual_seed(1)
        step = tg.TrainStep(lambda x: model(x, is_causal=True).square().mean(), optim.SGD(model.parameters(), lr=0.1),
                            memory_budget=budget)  # fmt: skip
        losses = [step(x) for _ in range(3)]
        return losses, step.memory().peak_bytes, str(step.memory())

    losses, peak, _ = trained(None)
    again, less, report = trained(int(0.8 * peak))
    assert less <= 0.8 * peak
    assert "instructions again" in report
    np.testing.assert_allclose(again, losses, rtol=1e-6)
