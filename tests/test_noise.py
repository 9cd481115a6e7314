"""noise.py: which parameters are noisy, how much noise they get, and that it is gone afterwards."""

import gc
import hashlib
import math
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from noise import (
    ParameterError,
    WeightNoise,
    noisy_parameters,
    relative_std,
    unit_noise,
    weight_noise,
)

ROOT = Path(__file__).resolve().parents[1]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def state(model: nn.Module) -> dict[str, tuple]:
    """Every parameter's bytes, type, strides and place in memory."""
    return {
        name: (p.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
               if p.numel() else b"", p.dtype, p.stride(), p.data_ptr(), p.requires_grad)
        for name, p in model.named_parameters()
    }  # fmt: skip


# ---- Models of every kind --------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(self.embedding(x))


class Reused(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.again = self.first
        self.other = nn.Linear(5, 5)
        self.other.weight = self.first.weight

    def forward(self, x):
        return self.other(self.again(self.first(x)))


class Raw(nn.Module):
    """A low-rank update and a temperature, whose uses nobody can know from outside."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(5, 5)
        self.lora_a = nn.Parameter(torch.randn(5, 2))
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.body(x) + (x @ self.lora_a).sum(-1, keepdim=True) * self.temperature


class Symmetric(nn.Module):
    def forward(self, w):
        return w.triu() + w.triu(1).T


def frozen(module: nn.Module) -> nn.Module:
    return module.requires_grad_(False)


def channels_last(module: nn.Module) -> nn.Module:
    return module.to(memory_format=torch.channels_last)


def mixed() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6).half(), nn.Linear(6, 7).double(), nn.Linear(7, 8))


def quiet(make, *args, **kwargs):
    """The old-style reparametrisations warn that they are old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(*args, **kwargs)


def rows(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(1)).to(dtype)


X5, SEQUENCE, IMAGE = rows(3, 5), rows(4, 3, 6), rows(2, 4, 6, 6)
WORDS = torch.tensor([[1, 2, 3]])
RNN = "weight_ih_l0 weight_hh_l0"

# name: (model, inputs, names of its noisy parameters). None for inputs: it is not run.
MODELS = {
    "linear": (lambda: nn.Linear(5, 4), [X5], "weight"),
    "linear_no_bias": (lambda: nn.Linear(5, 4, bias=False), [X5], "weight"),
    "one_element": (lambda: nn.Linear(1, 1), [rows(3, 1)], "weight"),
    "no_elements": (lambda: quiet(nn.Linear, 0, 4), [rows(3, 0)], "weight"),
    "conv1d": (lambda: nn.Conv1d(4, 3, 3), [rows(2, 4, 9)], "weight"),
    "conv2d": (lambda: nn.Conv2d(4, 3, 3), [IMAGE], "weight"),
    "conv2d_grouped": (lambda: nn.Conv2d(4, 8, 3, groups=4), [IMAGE], "weight"),
    "conv2d_channels_last": (lambda: channels_last(nn.Conv2d(4, 3, 3)), [IMAGE], "weight"),
    "conv3d": (lambda: nn.Conv3d(4, 3, 2), [rows(2, 4, 3, 3, 3)], "weight"),
    "conv_transpose1d": (lambda: nn.ConvTranspose1d(4, 3, 3), [rows(2, 4, 9)], "weight"),
    "conv_transpose2d": (lambda: nn.ConvTranspose2d(4, 3, 3), [IMAGE], "weight"),
    "conv_transpose3d": (lambda: nn.ConvTranspose3d(4, 3, 2), [rows(2, 4, 3, 3, 3)], "weight"),
    "bilinear": (lambda: nn.Bilinear(5, 5, 4), [X5, X5], "weight"),
    "rnn": (lambda: nn.RNN(6, 5), [SEQUENCE], RNN),
    "gru": (lambda: nn.GRU(6, 5), [SEQUENCE], RNN),
    "lstm": (lambda: nn.LSTM(6, 5), [SEQUENCE], RNN),
    "lstm_projected": (lambda: nn.LSTM(6, 5, proj_size=3), [SEQUENCE], f"{RNN} weight_hr_l0"),
    "lstm_both_ways": (
        lambda: nn.LSTM(6, 5, bidirectional=True), [SEQUENCE],
        f"{RNN} weight_ih_l0_reverse weight_hh_l0_reverse",
    ),
    "rnn_cell": (lambda: nn.RNNCell(5, 4), [X5], "weight_ih weight_hh"),
    "gru_cell": (lambda: nn.GRUCell(5, 4), [X5], "weight_ih weight_hh"),
    "lstm_cell": (lambda: nn.LSTMCell(5, 4), [X5], "weight_ih weight_hh"),
    "attention": (
        lambda: nn.MultiheadAttention(6, 2), [SEQUENCE] * 3, "in_proj_weight out_proj.weight"
    ),
    "attention_separate": (
        lambda: nn.MultiheadAttention(6, 2, kdim=5, vdim=4, add_bias_kv=True),
        [SEQUENCE, rows(4, 3, 5), rows(4, 3, 4)],
        "q_proj_weight k_proj_weight v_proj_weight out_proj.weight",
    ),
    "encoder_layer": (
        lambda: nn.TransformerEncoderLayer(6, 2, 8), [SEQUENCE],
        "self_attn.in_proj_weight self_attn.out_proj.weight linear1.weight linear2.weight",
    ),
    "decoder_layer": (
        lambda: nn.TransformerDecoderLayer(6, 2, 8), [SEQUENCE] * 2,
        "self_attn.in_proj_weight self_attn.out_proj.weight multihead_attn.in_proj_weight "
        "multihead_attn.out_proj.weight linear1.weight linear2.weight",
    ),
    "embedding": (lambda: nn.Embedding(11, 6), [WORDS], ""),
    "embedding_bag": (lambda: nn.EmbeddingBag(11, 6), [WORDS], ""),
    "tied": (Tied, [WORDS], "embedding.weight"),
    "reused": (Reused, [X5], "first.weight"),
    "norms": (
        lambda: nn.Sequential(
            nn.GroupNorm(2, 4), nn.BatchNorm2d(4), nn.InstanceNorm2d(4, affine=True),
            nn.LayerNorm(6), nn.RMSNorm(6), nn.PReLU(4), nn.Conv2d(4, 3, 1),
        ), [IMAGE], "6.weight",
    ),
    "sync_batch_norm": (lambda: nn.SyncBatchNorm(4), None, ""),
    "adaptive_softmax": (
        lambda: nn.AdaptiveLogSoftmaxWithLoss(6, 12, [4]), [rows(3, 6), torch.tensor([0, 5, 9])],
        "head.weight tail.0.0.weight tail.0.1.weight",
    ),
    "parametrised": (
        lambda: parametrize.register_parametrization(nn.Linear(5, 5), "weight", Symmetric()),
        [X5], "parametrizations.weight.original",
    ),
    "parametrised_inside": (
        lambda: nn.Sequential(nn.Linear(5, 5), parametrizations.orthogonal(nn.Linear(5, 5))),
        [X5], "0.weight 1.parametrizations.weight.original",
    ),
    "parametrised_bias": (
        lambda: parametrize.register_parametrization(nn.Linear(5, 5), "bias", nn.Softplus()),
        [X5], "weight",
    ),
    "spectral_norm": (
        lambda: parametrizations.spectral_norm(nn.Linear(5, 4)), [X5],
        "parametrizations.weight.original",
    ),
    "spectral_norm_old": (
        lambda: quiet(nn.utils.spectral_norm, nn.Conv2d(4, 3, 3)), [IMAGE], "weight_orig"
    ),
    "weight_norm": (
        lambda: parametrizations.weight_norm(nn.Linear(5, 4)), [X5],
        "parametrizations.weight.original1",
    ),
    "weight_norm_old": (
        lambda: quiet(nn.utils.weight_norm, nn.Linear(5, 4)), [X5], "weight_v"
    ),
    "weight_norm_lstm": (
        lambda: quiet(nn.utils.weight_norm, nn.LSTM(6, 5), "weight_hh_l0"), None,
        "weight_ih_l0 weight_hh_l0_v",
    ),
    "pruned": (lambda: prune.random_unstructured(nn.Linear(5, 4), "weight", 0.5), [X5],
               "weight_orig"),
    "frozen": (lambda: frozen(nn.Linear(5, 4)), [X5], "weight"),
    "half": (lambda: nn.Linear(5, 4).half(), [X5.half()], "weight"),
    "bfloat16": (lambda: nn.Linear(5, 4).bfloat16(), [X5.bfloat16()], "weight"),
    "float64": (lambda: nn.Linear(5, 4).double(), [X5.double()], "weight"),
    "mixed": (mixed, None, "0.weight 1.weight 2.weight"),
    "not_dense": (
        lambda: nn.utils.skip_init(nn.Linear, 5, 4).requires_grad_(False), [X5], "weight"
    ),
    "activation_only": (nn.ReLU, [X5], ""),
    "empty": (nn.Sequential, [X5], ""),
}  # fmt: skip


def make(name: str) -> tuple[nn.Module, list | None, list[str]]:
    torch.manual_seed(0)
    build, inputs, noisy = MODELS[name]
    model = build()
    if name == "not_dense":
        model.weight.data = torch.randn(4, 10)[:, ::2]
    return model, inputs, noisy.split()


def output(model: nn.Module, inputs: list) -> torch.Tensor:
    out = model(*inputs)
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize("name", MODELS)
def test_which_parameters_are_noisy(name):
    model, _, noisy = make(name)
    found = noisy_parameters(model)
    assert list(found) == noisy
    own = dict(model.named_parameters())
    assert all(found[n] is own[n] for n in found)


@pytest.mark.parametrize("name", [n for n, (*_, noisy) in MODELS.items() if noisy])
def test_noise_is_in_these_and_gone_afterwards(name):
    model, inputs, noisy = make(name)
    before = state(model)
    with weight_noise(model, 0.5, generator()):
        within = state(model)
        if inputs is not None:
            out = output(model, inputs)
            if out.requires_grad:
                out.sum().backward()
    changed = [n for n in before if within[n][0] != before[n][0]]
    assert changed == ([] if name in ("one_element", "no_elements") else noisy)
    assert all(within[n][1] == before[n][1] for n in before)
    if name != "not_dense":
        assert all(within[n][2] == before[n][2] for n in before)
    assert state(model) == before


@pytest.mark.parametrize("name", [n for n, (_, x, noisy) in MODELS.items() if x and noisy])
def test_noise_reaches_the_output(name):
    model, inputs, _ = make(name)
    model.eval()
    with torch.no_grad():
        clean = output(model, inputs)
        with weight_noise(model, 1.0, generator()):
            changed = not torch.equal(output(model, inputs), clean)
        after = output(model, inputs)
    assert changed == (name not in ("one_element", "no_elements"))
    assert torch.equal(after, clean)


@pytest.mark.parametrize("name", [n for n, (*_, noisy) in MODELS.items() if not noisy])
def test_a_model_in_which_nothing_carries_noise_is_an_error_that_says_why(name):
    model, *_ = make(name)
    with pytest.raises(ParameterError, match="nothing in this model carries noise: ") as raised:
        WeightNoise(model)
    names = [n for n, _ in model.named_parameters()]
    assert ", ".join(names) in str(raised.value) or not names


def test_frozen_and_quantised_models_are_errors_too():
    with (
        pytest.raises(ParameterError, match=r"clean: weight, bias"),
        weight_noise(nn.Linear(3, 2), 2.0, clean=["weight"]),
    ):
        pass

    class Buffered(nn.Module):  # as quantised layers keep their weights
        def __init__(self):
            super().__init__()
            self.register_buffer("weight", torch.ones(3, 3, dtype=torch.int8))

    with pytest.raises(ParameterError, match="no parameters .*buffers"):
        WeightNoise(Buffered())


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_a_model_that_has_lost_what_carries_noise_is_told_at_use(alpha):
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    noise = WeightNoise(model)
    with noise(alpha):
        pass
    model[0] = nn.Identity()
    for now in (r"all it has are clean: 1\.weight, 1\.bias", "it has no parameters"):
        with pytest.raises(ParameterError, match=f"nothing .* carries noise: {now}"), noise(alpha):
            pass
        model[1] = nn.Identity()


# ---- Parameters nobody can know --------------------------------------------------------------


def test_a_raw_parameter_must_be_declared():
    with pytest.raises(
        ParameterError,
        match=r"'lora_a', 'temperature'.*noisy=\['lora_a', 'temperature'\] or clean=\['lora_a', ",
    ):
        noisy_parameters(Raw())
    with pytest.raises(ParameterError, match=r"'temperature'"):
        WeightNoise(Raw(), noisy="lora_?")
    model = Raw()
    assert list(noisy_parameters(model, "lora_?", ["temp*"])) == ["lora_a", "body.weight"]
    before = state(model)
    with weight_noise(model, 0.3, generator(), noisy=["lora_a"], clean=["temperature"]):
        changed = [n for n, now in state(model).items() if now[0] != before[n][0]]
    assert changed == ["lora_a", "body.weight"]
    assert state(model) == before


def test_patterns_overrule_and_may_name_any_use_of_a_shared_parameter():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 4))
    assert list(noisy_parameters(model, "0.weight", "1.weight")) == ["0.weight"]
    assert list(noisy_parameters(Tied(), clean="head.weight")) == []


@pytest.mark.parametrize(
    ("noisy", "clean", "message"),
    [
        ("wieght", (), "'wieght' matches no parameter"),
        ((), ["bias", "head.*"], r"'head\.\*' matches no parameter"),
        ("w*", "*t", "'weight' matches both"),
    ],
)
def test_wrong_patterns(noisy, clean, message):
    with pytest.raises(ParameterError, match=message):
        noisy_parameters(nn.Linear(3, 2), noisy, clean)


def test_a_shared_parameter_of_unknown_second_use_is_not_passed_over():
    model = nn.Module()
    model.embedding = nn.Embedding(5, 3)
    model.raw = model.embedding.weight
    with pytest.raises(ParameterError, match="raw"):
        noisy_parameters(model)


def test_a_parametrisation_with_parameters_of_its_own_must_be_declared():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, w):
            return w * self.scale

    model = parametrize.register_parametrization(nn.Linear(3, 2), "weight", Scaled())
    with pytest.raises(ParameterError, match=r"parametrizations\.weight\.0\.scale"):
        noisy_parameters(model)
    assert list(noisy_parameters(model, clean="*.scale")) == ["parametrizations.weight.original"]


def test_lazy_complex_and_subclassed_layers():
    with pytest.raises(ParameterError, match="run one batch"):
        noisy_parameters(nn.Sequential(nn.LazyLinear(4)))
    with pytest.raises(ParameterError, match="complex64"):
        noisy_parameters(nn.Linear(3, 2, dtype=torch.complex64))

    class Gated(nn.Linear):
        def __init__(self):
            super().__init__(3, 2)
            self.gate = nn.Parameter(torch.ones(2))

    with pytest.raises(ParameterError, match="'gate'"):
        noisy_parameters(Gated())


def test_torchvision_names_are_known_in_torchvision_and_its_subclasses_only():
    class Mine(torchvision.models.VisionTransformer):
        pass

    vit = Mine(28, 7, 1, 2, 8, 16, num_classes=10)
    assert not {"class_token", "encoder.pos_embedding"} & set(noisy_parameters(vit))
    model = nn.Module()
    model.class_token = nn.Parameter(torch.zeros(3))
    with pytest.raises(ParameterError, match="class_token"):
        noisy_parameters(model)


# ---- How much noise --------------------------------------------------------------------------


def std(w: torch.Tensor) -> float:
    return w.double().std(correction=0).item()


def test_scale_is_the_population_standard_deviation():
    w = torch.tensor([1.0, 2.0, 3.0, 6.0])
    assert relative_std(w).item() == pytest.approx(math.sqrt(3.5))
    assert relative_std(torch.tensor([[7.0]])).item() == 0
    assert relative_std(torch.zeros(0)).item() == 0
    assert relative_std(torch.full((1000,), 0.1)).item() <= 1e-7
    far = torch.randn(100_000, generator=generator(), dtype=torch.float64) * 0.1 + 1000
    assert relative_std(far.float()).item() == pytest.approx(std(far.float()), rel=1e-5)
    small = (torch.randn(1000, generator=generator()) * 1e-5).half()
    assert relative_std(small).dtype == torch.float32
    assert relative_std(small).item() == pytest.approx(std(small), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_unit_noise_is_scaled_exactly(dtype):
    model = nn.Conv2d(6, 8, 3).to(dtype=dtype, memory_format=torch.channels_last)
    w = model.weight.detach().clone()
    z = unit_noise(noisy_parameters(model), 0, 0, 0)
    s = std(w)
    for sign in (1, -1):
        with weight_noise(model, 0.3, unit=z, sign=sign):
            expected = w.double() + sign * 0.3 * s * z["weight"].double()
            error = (model.weight.double() - expected).abs().max().item()
            assert error <= 2 * torch.finfo(dtype).eps * expected.abs().max()


@pytest.mark.parametrize("alpha", [0.01, 0.1, 2.0])
@pytest.mark.parametrize("kind", ["float32", "channels_last", "bfloat16", "float64", "unit"])
def test_measured_strength_and_independence(alpha, kind):
    """std(ε)/std(W) = α within 6 standard errors; mean 0; tensors and batches uncorrelated."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(64, 160, 5), nn.Conv2d(64, 160, 5))
    if kind == "channels_last":
        channels_last(model)
    if kind in ("bfloat16", "float64"):
        model.to(getattr(torch, kind))
    if kind == "bfloat16" and alpha == 0.01:
        pytest.skip("noise of 1% is at bfloat16's rounding")
    w = {n: p.detach().clone() for n, p in model.named_parameters()}
    g, noises = generator(), []
    for draw in range(2):
        unit = unit_noise(noisy_parameters(model), 0, 0, draw) if kind == "unit" else None
        with weight_noise(model, alpha, None if unit else g, unit=unit):
            noises += [(p.detach() - w[n]).flatten() for n, p in noisy_parameters(model).items()]
    n, s = noises[0].numel(), std(w["0.weight"])
    for i, e in enumerate(noises):
        e = noises[i] = e.double() / s
        assert e.std() / alpha == pytest.approx(1, abs=6 / math.sqrt(2 * n) + 2e-3)
        assert abs(e.mean() / alpha) < 6 / math.sqrt(n)
        kurtosis = ((e / e.std()) ** 4).mean()
        assert kurtosis == pytest.approx(3, abs=6 * math.sqrt(24 / n))
    correlations = torch.corrcoef(torch.stack(noises)) - torch.eye(4)
    assert correlations.abs().max() < 6 / math.sqrt(n)


@given(st.floats(0.001, 100), st.floats(0.001, 1000))
@settings(max_examples=50, deadline=None)
def test_noise_scales_with_the_weights(alpha, c):
    """W → cW gives ε → cε: α means the same for every layer."""
    model, scaled = nn.Linear(20, 30), nn.Linear(20, 30)
    scaled.weight.data = c * model.weight.data
    noise = []
    for m in (model, scaled):
        w = m.weight.detach().clone()
        with weight_noise(m, alpha, generator()):
            noise.append((m.weight - w).detach())
    tolerance = 1e-5 * c * max(alpha, 1)
    torch.testing.assert_close(noise[1], c * noise[0], rtol=0, atol=tolerance)


@pytest.mark.parametrize("alpha", [-0.1, math.nan, math.inf, -math.inf])
def test_wrong_alpha(alpha):
    model = nn.Linear(3, 2)
    before = state(model)
    with pytest.raises(ValueError, match="alpha"), weight_noise(model, alpha):
        pass
    assert state(model) == before


def test_wrong_unit_noise_and_sign():
    noise, g = WeightNoise(nn.Linear(3, 2)), generator()
    z = torch.zeros(2, 3)
    for message, arguments in {
        "'bias', which is not": {"unit": {"bias": torch.zeros(2)}},
        r"\(3, 2\), not \(2, 3\)": {"unit": {"weight": z.T}},
        "not both": {"unit": {"weight": z}, "generator": g},
        "sign": {"sign": 0.5},
    }.items():
        with pytest.raises(ValueError, match=message), noise(0.1, **arguments):
            pass
    assert torch.equal(g.get_state(), generator().get_state())


def test_alpha_zero_is_no_noise_and_no_draw():
    model, x, g = nn.Linear(50, 20), rows(4, 50), generator()
    clean, before = model(x), state(model)
    with weight_noise(model, 0, g):
        assert state(model) == before
        assert torch.equal(model(x), clean)
    clean.sum().backward()  # nothing was written, so older graphs stay good
    assert torch.equal(g.get_state(), generator().get_state())


def test_unit_noise_in_some_tensors_only():
    model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    before = state(model)
    z = unit_noise({"1.weight": model[1].weight}, 0, 0, 0)
    kept = {name: t.clone() for name, t in z.items()}
    noise = WeightNoise(model)
    with noise(0.1, generator()):
        pass  # leaves other noise in the buffers
    with noise(0.1, unit=z):
        changed = [n for n, now in state(model).items() if now != before[n]]
    assert changed == ["1.weight"]
    assert state(model) == before
    assert all(torch.equal(z[n], kept[n]) for n in z)  # the caller's noise is reused across α
    with noise(0.1, unit={}):
        assert state(model) == before


# ---- Random streams --------------------------------------------------------------------------


def noisy_values(noise: WeightNoise, g: torch.Generator, alpha: float = 0.1) -> torch.Tensor:
    with noise(alpha, g):
        return torch.cat([p.detach().flatten() for p in noise.model.parameters()])


def test_draws_come_from_the_generator_alone():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(7, 9), nn.Linear(1, 1))
    noise, g = WeightNoise(model), generator()
    first, second = noisy_values(noise, g), noisy_values(noise, g)
    assert not torch.equal(first, second)
    torch.manual_seed(99)
    other = torch.get_rng_state()
    assert torch.equal(noisy_values(noise, generator()), first)  # buffers carry nothing over
    assert torch.equal(noisy_values(WeightNoise(model), generator()), first)
    assert torch.equal(torch.get_rng_state(), other)
    g = generator()
    noisy_values(noise, g)
    saved = g.get_state()  # a training run resumes from this
    assert torch.equal(noisy_values(noise, g), second)
    g.set_state(saved)
    assert torch.equal(noisy_values(noise, g), second)


def test_without_a_generator_the_global_one_is_used():
    noise = WeightNoise(nn.Linear(5, 5))
    values = []
    for _ in range(2):
        torch.manual_seed(3)
        values.append(noisy_values(noise, None))
    assert torch.equal(*values)
    assert not torch.equal(noisy_values(noise, None), values[0])


def test_unit_noise_is_what_it_always_was():
    """Known answers, made from the definition in NumPy alone: records rest on these draws."""
    z = unit_noise({"fc.weight": torch.empty(2, 3), "conv.weight": torch.empty(1)}, 7, 1, 2)
    assert {n: (t.dtype, t.shape) for n, t in z.items()} == {
        "fc.weight": (torch.float32, (2, 3)),
        "conv.weight": (torch.float32, (1,)),
    }
    expected = [-0.07825965, -0.77487206, -0.55965614, 1.2877151, 1.1589569, 0.30644703]
    assert z["fc.weight"].flatten().tolist() == torch.tensor(expected).tolist()
    assert z["conv.weight"].tolist() == torch.tensor([1.0525749]).tolist()
    many = unit_noise({"w": torch.empty(100, 1000)}, 0, 0, 0)["w"].numpy().astype("<f4")
    digest = "f41f128f61a2570b79b223d92bacb8dbf075521e59d5466836af288e9194e7b1"
    assert hashlib.sha256(many.tobytes()).hexdigest() == digest


def test_unit_noise_depends_on_identity_alone():
    a, b = torch.empty(40, 30), torch.empty(6, 5, 3, 3)
    both = unit_noise({"a": a, "b": b}, 0, 1, 2)
    torch.randn(3)
    turned = {"b": b.to(memory_format=torch.channels_last).half(), "a": a.T.contiguous().T}
    again = unit_noise(turned, 0, 1, 2)
    assert all(torch.equal(both[n], again[n]) and again[n].is_contiguous() for n in both)
    assert torch.equal(unit_noise({"a": a}, 0, 1, 2)["a"], both["a"])
    draws = [unit_noise({n: a}, *key)[n] for n, *key in
             [("a", 0, 1, 2), ("x", 0, 1, 2), ("a", 1, 1, 2), ("a", 0, 0, 2), ("a", 0, 1, 3),
              ("a", 1, 0, 2), ("a", 12, 1, 2), ("a", 1, 21, 2)]]  # fmt: skip
    assert len({d.numpy().tobytes() for d in draws}) == len(draws)


def test_unit_noise_is_one_noise_for_every_memory_format():
    """The same z for the same kernel element, however the kernel lies in memory."""
    plain = nn.Conv2d(4, 5, 3)
    turned = channels_last(nn.Conv2d(4, 5, 3))
    turned.load_state_dict(plain.state_dict())
    z = unit_noise(noisy_parameters(plain), 0, 0, 0)
    with weight_noise(plain, 0.2, unit=z), weight_noise(turned, 0.2, unit=z):
        torch.testing.assert_close(plain.weight, turned.weight)


# ---- Restore ---------------------------------------------------------------------------------


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def test_an_exception_restores_and_passes():
    model = small()
    before, noise = state(model), WeightNoise(model)
    for error in (KeyError, KeyboardInterrupt):
        with pytest.raises(error), noise(0.1, generator()):
            model[0].weight.detach().add_(1)
            raise error("inside")
        assert state(model) == before
    values = noisy_values(noise, generator())
    assert torch.equal(values, noisy_values(WeightNoise(small()), generator()))


def test_special_values_come_back():
    """NaN payloads, signed zeros, infinities and denormals: what add-then-subtract would lose."""
    model = nn.Linear(4, 2)
    model.weight.data = torch.tensor([[-0.0, math.nan, math.inf, 1e-45], [1e38, 1, 2, 3]])
    before = state(model)
    with weight_noise(model, 0.1, generator()):
        assert model.weight.isnan().all()
    assert state(model) == before


def test_gradient_is_that_at_the_noisy_weights_and_the_step_is_on_the_clean_ones():
    model, x, y = small(), rows(16, 5), torch.arange(16) % 3
    noise, optimizer = WeightNoise(model), torch.optim.SGD(model.parameters(), lr=0.1)
    for batch in range(3):
        clean = {n: p.detach().clone() for n, p in model.named_parameters()}
        optimizer.zero_grad()
        with noise(0.5, generator(batch)):
            noisy = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
            nn.functional.cross_entropy(model(x), y).backward()
        loss = nn.functional.cross_entropy(torch.func.functional_call(model, noisy, x), y)
        gradients = torch.autograd.grad(loss, list(noisy.values()))
        optimizer.step()
        for (n, p), gradient in zip(model.named_parameters(), gradients, strict=True):
            torch.testing.assert_close(p.grad, gradient)
            torch.testing.assert_close(p.detach(), clean[n] - 0.1 * gradient)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
@pytest.mark.parametrize("foreach", [False, True])
def test_an_optimizer_step_inside_is_lost_and_says_so(optimizer, foreach):
    model = small()
    before = state(model)
    step = optimizer(model.parameters(), lr=0.1, foreach=foreach).step
    with (
        pytest.raises(RuntimeError, match=r"0\.weight, 3\.weight changed within weight_noise"),
        weight_noise(model, 0.1, generator()),
    ):
        model(rows(8, 5)).sum().backward()
        step()
    weights = ("0.weight", "3.weight")
    assert all(state(model)[n] == before[n] for n in weights)


def test_other_changes_inside_are_lost_and_say_so():
    def replace(model):
        model[0].weight.data = torch.zeros(8, 5)

    def load(model):
        model.load_state_dict({n: 2 * t for n, t in model.state_dict().items()})

    for change in (replace, load, nn.Module.half, nn.Module.double):
        model = small()
        before = state(model)
        with (
            pytest.raises(RuntimeError, match="changed within"),
            weight_noise(model, 0.1, generator()),
        ):
            change(model)
        assert all(state(model)[n] == before[n] for n in ("0.weight", "3.weight"))


def test_weights_moved_with_their_values_are_no_change():
    """As cuDNN's flatten_parameters() does in the forward pass of a recurrent layer."""
    model = nn.LSTM(3, 4)
    before = state(model)
    with weight_noise(model, 0.1, generator()):
        model.weight_ih_l0.data = model.weight_ih_l0.data.clone()
    assert state(model) == before


@pytest.mark.parametrize("parameters_too", [True, False])
def test_a_backward_pass_through_other_weights_raises(parameters_too):
    model, x = small().requires_grad_(parameters_too), rows(4, 5).requires_grad_()
    noise = WeightNoise(model)
    with noise(0.1, generator()):
        late = model(x).sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        late.backward()
    early = model(x).sum()
    with (
        pytest.raises(RuntimeError, match="modified by an inplace operation"),
        noise(0.1, generator()),
    ):
        early.backward()


def test_nested_contexts_add_and_unwind():
    model = small()
    before, noise = state(model), WeightNoise(model)
    noisy_values(noise, generator())  # from now on there are buffers to be fought over
    w, unit = model[0].weight.detach().clone(), unit_noise(noisy_parameters(model), 0, 0, 0)
    s = w.std(correction=0)
    with noise(0.5, unit=unit):
        outer = state(model)
        with noise(0.25, unit=unit), torch.no_grad():
            # Both relative to the clean weights, whose s it is.
            torch.testing.assert_close(model[0].weight, w + 0.75 * s * unit["0.weight"])
            with weight_noise(model, 3.0, generator()), weight_noise(model[3], 1.0):
                pass
        assert state(model) == outer
        with pytest.raises(KeyError), noise(0.3):
            raise KeyError
        assert state(model) == outer
        model(rows(4, 5)).sum().backward()
    assert state(model) == before
    with (
        pytest.raises(RuntimeError, match="changed within"),
        noise(0.1, generator()),
        noise(0.1, generator()),
        torch.no_grad(),
    ):
        model[0].weight.add_(1)
    assert state(model) == before


@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_a_second_thread_is_refused(alpha):
    model, raised = small(), []

    def enter(part):
        g = generator()
        try:
            with weight_noise(part, alpha, g):
                pass
        except RuntimeError as error:
            raised.append((str(error), torch.equal(g.get_state(), generator().get_state())))

    def in_thread(part):
        thread = threading.Thread(target=enter, args=(part,))
        thread.start()
        thread.join()

    before = state(model)
    with weight_noise(model, 0.1, generator()):
        in_thread(model)
        in_thread(model[3])  # shares parameters with it
        in_thread(small())  # another model: no conflict
    assert [message for message, _ in raised] == [
        "another thread has this model in a weight_noise context"
    ] * 2
    assert all(untouched for _, untouched in raised)
    in_thread(model)
    assert len(raised) == 2
    assert state(model) == before


def test_many_threads_with_a_model_each():
    results = {}

    def work(i, noise):
        results[i] = [noisy_values(noise, generator(i % 2)) for _ in range(50)]

    threads = [threading.Thread(target=work, args=(i, WeightNoise(small()))) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        expected = noisy_values(WeightNoise(small()), generator(i % 2))
        assert all(torch.equal(values, expected) for values in results[i])


def test_buffers_are_kept_from_batch_to_batch():
    model, places = small(), set()
    noise = WeightNoise(model)
    for batch in range(3):
        with noise(0.1, generator(batch)):
            places.add(model[0].weight.data_ptr())
        keep = [torch.empty(5, 8) for _ in range(9)]  # what a freed buffer's place would go to
    assert len(places) == 1
    del keep


def test_a_model_may_change_between_uses():
    model = small()
    noise = WeightNoise(model)
    noisy_values(noise, generator())
    model.double()
    assert noisy_values(noise, generator()).dtype == torch.float64
    model.float()
    model[0].weight = nn.Parameter(torch.randn(8, 5))
    model[3] = nn.Linear(8, 70)
    before = state(model)
    with noise(0.1, generator()):
        changed = [n for n, now in state(model).items() if now[0] != before[n][0]]
    assert changed == ["0.weight", "3.weight"]
    assert state(model) == before


def test_inference_mode_leaves_the_model_trainable():
    model = small()
    before, noise = state(model), WeightNoise(model)
    with torch.inference_mode():
        values = noisy_values(noise, generator())  # the buffers are made here
    assert torch.equal(values, noisy_values(noise, generator()))
    assert state(model) == before
    with noise(0.1, generator()):
        model(rows(4, 5)).sum().backward()
    with torch.inference_mode():
        made_here = nn.Linear(5, 4)
        before = state(made_here)
        with weight_noise(made_here, 0.1, generator()):
            assert not torch.equal(made_here(X5), X5 @ made_here.weight.T)
        assert state(made_here) == before
    with torch.no_grad(), weight_noise(made_here, 0.1, generator()):
        made_here(X5)
    assert state(made_here) == before


def test_autocast_does_not_keep_the_other_weights():
    """Autocast caches half-precision copies of weights: noise must reach those too, and leave."""
    model, x = nn.Linear(5, 4), X5
    with torch.autocast("cpu", torch.bfloat16):
        clean = model(x)
        with weight_noise(model, 1.0, generator()):
            assert not torch.equal(model(x), clean)
        assert torch.equal(model(x), clean)


def test_cached_parametrisations_do_not_keep_the_other_weights(monkeypatch):
    model = parametrizations.weight_norm(nn.Linear(5, 4))
    clean = model(X5)
    with parametrize.cached():
        assert torch.equal(model(X5), clean)
        with weight_noise(model, 1.0, generator()):
            outer = model(X5)
            assert not torch.equal(outer, clean)
            with weight_noise(model, 1.0, generator()):
                assert not torch.equal(model(X5), outer)
            assert torch.equal(model(X5), outer)
        assert torch.equal(model(X5), clean)
        kept = model.weight
        with weight_noise(model, 0.0):
            assert model.weight is kept  # nothing is exchanged
        assert model.weight is kept
    monkeypatch.delattr(parametrize, "_cache")  # private: another PyTorch may not have it
    with weight_noise(model, 1.0, generator()):
        assert torch.equal(model(X5), outer)


def test_a_context_without_noise_hides_no_change_from_the_one_around_it():
    model = small()
    before = state(model)
    with (
        pytest.raises(RuntimeError, match=r"0\.weight changed within weight_noise"),
        weight_noise(model, 0.1, generator()),
        weight_noise(model, 0.0),
        torch.no_grad(),
    ):
        model[0].weight.add_(1)
    assert state(model) == before


def test_the_command():
    done = subprocess.run(
        [sys.executable, "noise.py"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "noise.py: apply/remove ok"


# ---- Every classifier of torchvision ---------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", torchvision.models.list_models(module=torchvision.models))
def test_torchvision_classifier(name, monkeypatch):
    """Most of its parameters are noisy, the rest is of a kind that is not; restored bit for bit."""
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    for slow in ("uniform_", "normal_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_"):
        monkeypatch.setattr(nn.init, slow, lambda tensor, *_, **__: tensor)
    model = torchvision.models.get_model(name, weights=None, **extra)
    for p in model.parameters():
        p.data.uniform_(-1, 1)

    noisy, own = noisy_parameters(model), dict(model.named_parameters())
    tables = ("class_token", "pos_embedding", "position_bias_table", "logit_scale", "layer_scale")
    assert set(noisy) == {n for n, p in own.items() if p.ndim >= 2 and not n.endswith(tables)}
    share = sum(p.numel() for p in noisy.values()) / sum(p.numel() for p in own.values())
    print(f"{name}: {len(noisy)} of {len(own)} tensors, {share:.2%} of the parameters are noisy")
    assert share > 0.98

    before = {n: (zlib.crc32(p.detach().numpy()), p.data_ptr()) for n, p in own.items()}
    with weight_noise(model, 0.1, generator()):
        within = {n: zlib.crc32(p.detach().numpy()) for n, p in own.items()}
    assert {n for n in own if within[n] != before[n][0]} == set(noisy)
    assert {n: (zlib.crc32(p.detach().numpy()), p.data_ptr()) for n, p in own.items()} == before
    del model, noisy, own, p
    gc.collect()


# ---- Weights that share memory -------------------------------------------------------------------


def of_one_flat_tensor() -> nn.Module:
    flat = torch.randn(40)
    model = nn.Sequential(nn.Linear(4, 5, bias=False), nn.Linear(5, 4, bias=False))
    model[0].weight = nn.Parameter(flat[:20].view(5, 4))
    model[1].weight = nn.Parameter(flat[20:].view(4, 5))
    return model


def test_weights_that_are_views_of_one_flat_tensor_are_no_false_alarm():
    model = of_one_flat_tensor()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(2):
        with weight_noise(model, 0.1):
            model(torch.rand(2, 4)).sum().backward()
            with weight_noise(model, 0.1):
                model(torch.rand(2, 4))
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    changed = pytest.raises(RuntimeError, match="changed within weight_noise")
    with changed, torch.no_grad(), weight_noise(model, 0.1):
        model[1].weight.add_(1)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_what_is_read_inside_is_overwritten_by_the_next_context_unless_cloned():
    model = nn.Linear(4, 4)
    noise = WeightNoise(model)
    with noise(0.1):
        alias, kept = model.state_dict()["weight"], model.state_dict()["weight"].clone()
        assert torch.equal(alias, kept)
    with noise(0.1):
        assert torch.equal(alias, model.weight) and not torch.equal(kept, model.weight)
    assert "clone what is to be kept" in " ".join(WeightNoise.__call__.__doc__.split())
