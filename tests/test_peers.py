"""The same draws and weights, another program: aihwkit, aihwkit-lightning and torchao.

They are optional (`pip install --no-deps -r requirements-peers.txt`): where one is not installed,
its tests are skipped and say so.
"""

import importlib
from types import ModuleType

import numpy as np
import pytest
import torch

import noises
from noises import pcm, perturb, rounding
from noises.scales import largest_by_channel


def peer(module: str) -> ModuleType:
    """Import a module of a peer, or skip the test where it cannot be had, with the reason."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        why = f"{type(error).__name__}: {error}"
        pytest.skip(f"needs pip install --no-deps -r requirements-peers.txt ({why})")


def weights(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.05


def z_of(family: str, shape: tuple[int, ...]) -> torch.Tensor:
    return noises.unit(family, shape, np.random.Generator(np.random.Philox(key=1)))


def give(monkeypatch, module: ModuleType, draws: list[torch.Tensor]) -> None:
    """Let a module draw these normals, one after the other."""
    stream = iter(draws)
    monkeypatch.setattr(module, "randn_like", lambda like: next(stream).reshape(like.shape))


def assert_equal_to_rounding(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert (ours - theirs).abs().max() <= 2e-6 * theirs.abs().max()
    assert theirs.unique().numel() > 100


SHAPES = [(60, 50), (8, 6, 3, 3)]
TIMES = (1.0, 86400.0, pcm.YEAR)


@pytest.mark.parametrize("seconds", TIMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_pcm_is_aihwkits(monkeypatch, shape, seconds):
    module = peer("aihwkit.inference.noise.pcm")
    w, z = weights(*shape), z_of("pcm", shape)
    give(monkeypatch, module, list(z))
    theirs = module.PCMLikeNoiseModel(g_max=25.0).apply_noise(w, seconds)
    assert_equal_to_rounding(perturb(w, "pcm_uncompensated", seconds, z), theirs)


@pytest.mark.parametrize("seconds", TIMES)
def test_drift_compensation_is_aihwkits(monkeypatch, seconds):
    """Their tile reads a unit matrix through the weights, once programmed and once drifted."""
    module = peer("aihwkit.inference.noise.pcm")
    compensation = peer("aihwkit.inference.compensation.drift").GlobalDriftCompensation()
    w, z = weights(60, 50), z_of("pcm", (60, 50))
    model, ones = module.PCMLikeNoiseModel(g_max=25.0), compensation.get_readout_tensor(50)
    z1, z4 = z[0], z[3]
    give(monkeypatch, module, [z1, z[1], z4, z[4]])
    programmed, _ = model.apply_programming_noise(w)
    give(monkeypatch, module, list(z))
    drifted = model.apply_noise(w, seconds)
    factor = compensation.apply(ones @ drifted.T, compensation.readout(ones @ programmed.T))
    assert_equal_to_rounding(perturb(w, "pcm", seconds, z), drifted * factor)


@pytest.mark.parametrize("seconds", [1.0, 86400.0, 172800.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_reram_is_aihwkits(monkeypatch, shape, seconds):
    module = peer("aihwkit.inference.noise.reram")
    w, z = weights(*shape), z_of("reram", shape)
    # it programs each device first, and then leaves what it programmed out
    give(monkeypatch, module, [z[1], z[0], z[0], z[1]])
    theirs = module.ReRamWan2022NoiseModel(g_max=40.0).apply_noise(w, seconds)
    assert_equal_to_rounding(perturb(w, "reram", seconds, z), theirs)


def test_aihwkits_default_reram_has_more_noise():
    """At 25 µS it does not scale the polynomial, which is in µS of 40: 40/25 of the noise."""
    module = peer("aihwkit.inference.noise.reram")
    w = weights(300, 200)
    torch.manual_seed(0)
    sizes = [
        (module.ReRamWan2022NoiseModel(g_max=g_max).apply_noise(w, 1.0) - w).std().item()
        for g_max in (None, 40.0)
    ]
    assert 1.5 < sizes[0] / sizes[1] < 1.61


@pytest.mark.parametrize(("kind", "family"), [
    ("ADD_NORMAL_PER_CHANNEL", "gaussian_channel"), ("ADD_NORMAL", "gaussian_max"),
])  # fmt: skip
def test_noise_relative_to_the_largest_weight_is_aihwkit_lightnings(monkeypatch, kind, family):
    module = peer("aihwkit_lightning.nn.modules.torch_utils.torch_linear")
    configs = peer("aihwkit_lightning.simulator.configs")
    config = configs.TorchInferenceRPUConfig()
    config.modifier.noise_type = getattr(module.WeightNoiseInjectionType, kind)
    config.modifier.std_dev = 0.07
    w, z = weights(60, 50), z_of(family, (60, 50))
    give(monkeypatch, module, [z])
    theirs = module.TorchLinear.modify_weight(w, None, config)
    assert_equal_to_rounding(perturb(w, family, 0.07, z), theirs)


def int8(w: torch.Tensor):
    """The linear layer's weight as torchao's Int8WeightOnlyConfig keeps it."""
    quantization = peer("torchao.quantization")
    model = torch.nn.Sequential(torch.nn.Linear(w.shape[1], w.shape[0], bias=False))
    model[0].weight.data = w.clone()
    quantization.quantize_(model, quantization.Int8WeightOnlyConfig(set_inductor_config=False))
    return model[0].weight


def test_codes_of_8_bits_are_torchaos():
    for shape in ((600, 50), (3, 4000)):
        w = weights(*shape)
        theirs = int8(w)
        q, step = rounding.codes(w, largest_by_channel(w), 1 / 127.5)
        assert torch.equal(q, theirs.qdata.float())
        assert torch.equal(step, theirs.scale.reshape(step.shape))
        ours = perturb(w, "quantization_channel", 1 / 127.5, torch.empty(0))
        assert torch.equal(ours, theirs.dequantize())
        assert len(q.unique()) > 200


def test_the_two_conventions_of_8_bits_are_different_networks():
    w = weights(600, 50)
    theirs = int8(w).dequantize()
    ours = perturb(w, "quantization_channel", rounding.step_of_bits(8), torch.empty(0))
    assert not torch.allclose(ours, theirs, rtol=1e-4)
