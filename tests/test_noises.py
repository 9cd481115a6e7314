"""noises/: what every family keeps, and each one's formula, moments and draws."""

import hashlib
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import noises
from noise import WeightNoise, relative_std, unit_noise
from noises import FAMILIES, composed, draws, pcm, perturb, rounding, size
from noises.training import straight_through

RANDOM = [name for name, family in FAMILIES.items() if family.random]
RATES = [name for name, family in FAMILIES.items() if family.most <= 1]


def z_of(family: str, shape: tuple[int, ...], seed: int = 1) -> torch.Tensor:
    return noises.unit(family, shape, np.random.Generator(np.random.Philox(key=seed)))


def weights(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.05


def gaussian_tensor() -> torch.Tensor:
    """Quantiles of a Gaussian, shuffled: its largest weight is 4.66 standard deviations."""
    n = 1000 * 316
    w = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n).float()
    return w[torch.randperm(n, generator=torch.Generator().manual_seed(0))].view(1000, 316)


WIDE = gaussian_tensor()


# ---- What every family keeps ------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_strength_0_is_the_clean_weight_in_a_tensor_of_its_own(family):
    w = weights(4, 3, 3, 3)
    noisy = perturb(w, family, 0, z_of(family, w.shape))
    assert torch.equal(noisy, w) and noisy.data_ptr() != w.data_ptr()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_shape_and_dtype_are_kept_and_neither_weight_nor_draw_is_written_into(family, dtype):
    for shape in [(), (1,), (7,), (5, 4), (4, 3, 3, 3), (0, 3), (3, 0)]:
        z = z_of(family, shape)
        for w in (weights(*shape), torch.zeros(shape), torch.full(shape, 0.3)):
            w = w.to(dtype)
            kept = w.clone(), z.clone()
            for strength in FAMILIES[family].strengths:
                noisy = perturb(w, family, strength, z)
                assert (noisy.shape, noisy.dtype) == (w.shape, dtype)
                assert noisy.isfinite().all()
                assert not noisy.numel() or noisy.data_ptr() != w.data_ptr()
            assert torch.equal(w, kept[0]) and torch.equal(z, kept[1])


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_is_rounded_at_the_end_only(family):
    w, z = weights(40, 30).bfloat16(), z_of(family, (40, 30))
    strength = FAMILIES[family].strengths[-1]
    assert torch.equal(
        perturb(w, family, strength, z), perturb(w.float(), family, strength, z).bfloat16()
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_zero_weights_stay_zero_where_noise_is_relative(family):
    w = torch.zeros(6, 5)
    for strength in FAMILIES[family].strengths:
        noisy = perturb(w, family, strength, z_of(family, w.shape))
        assert not (FAMILIES[family].relative and noisy.any())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [1e-43, 1e-38, 1e-30, 1e15])
def test_weights_of_any_size_stay_finite(family, scale):
    w = weights(6, 5) * scale
    for strength in FAMILIES[family].strengths:
        assert perturb(w, family, strength, z_of(family, w.shape)).isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_it_stays_on_the_device_of_the_weight(family):
    """A tensor without values computes on no device but its own."""
    w = weights(6, 5).to("meta")
    noisy = perturb(w, family, FAMILIES[family].strengths[-1], z_of(family, w.shape))
    assert noisy.device == w.device and noisy.shape == w.shape


@pytest.mark.parametrize("family", [n for n in FAMILIES if FAMILIES[n].relative])
def test_rescaling_a_tensor_rescales_its_noise(family):
    w = weights(60, 50)
    z = z_of(family, w.shape)
    for strength in FAMILIES[family].strengths:
        for scale in (2**-10, 2**10):
            once = perturb(w, family, strength, z) * scale
            assert torch.allclose(perturb(w * scale, family, strength, z), once, 1e-5, 1e-7 * scale)


@pytest.mark.parametrize("family", FAMILIES)
def test_permuting_output_channels_permutes(family):
    w, order = weights(6, 5, 3, 3), torch.tensor([3, 0, 5, 1, 4, 2])
    z = z_of(family, w.shape)
    turned = z[order] if z.shape == w.shape else z[:, order] if z.numel() else z
    for strength in FAMILIES[family].strengths:
        once = perturb(w, family, strength, z)[order]
        assert torch.allclose(perturb(w[order], family, strength, turned), once, 1e-5, 1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_memory_format_changes_nothing(family):
    w = weights(6, 5, 3, 3)
    z, strength = z_of(family, w.shape), FAMILIES[family].strengths[-1]
    last = perturb(w.to(memory_format=torch.channels_last), family, strength, z)
    assert torch.allclose(last, perturb(w, family, strength, z), 1e-5, 1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_in_the_model_it_is_what_it_is_on_a_tensor(family):
    model = torch.nn.Linear(30, 20)
    w, strength = model.weight.detach().clone(), FAMILIES[family].strengths[0]
    unit = noises.draw(family, {"weight": model.weight}, 0, 1, 2)
    apply = noises.find(family).apply
    with WeightNoise(model)(strength, unit=unit, apply=apply):
        assert torch.equal(model.weight, perturb(w, family, strength, unit["weight"]))
    assert torch.equal(model.weight, w)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_family_says_of_itself(family):
    kind, w = FAMILIES[family], gaussian_tensor()[:300]
    steps = (*kind.strengths, *kind.beyond)
    assert list(steps) == sorted({*steps}) and steps[0] > 0
    assert len({kind.show(s) for s in steps}) == len(steps)
    z = z_of(family, w.shape)
    assert z.dtype == torch.float32 and bool(z.numel()) == kind.random
    assert z.numel() == kind.numbers * w.numel()
    smallest = size.relative_size(w, perturb(w, family, steps[0], z))
    assert kind.jumps == (smallest > 0.1)
    for strength in steps:
        kind.check(strength)
    if kind.random:
        assert not torch.equal(z, z_of(family, w.shape, seed=2))
    if kind.signed:
        there, back = (perturb(w, family, 0.1, s * z) - w for s in (1, -1))
        assert torch.allclose(there, -back, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_means_nothing_is_refused_in_a_sentence(family):
    w = weights(3, 2)
    wrong = [-0.1, math.nan, math.inf, *([1.5] if FAMILIES[family].most <= 1 else [])]
    for strength in wrong:
        with pytest.raises(ValueError, match="takes"):
            perturb(w, family, strength, z_of(family, w.shape))


# ---- Draws ------------------------------------------------------------------------------------

KNOWN = {  # of each kind of draw: SHA-256 of 1,000 weights, little-endian float32
    "gaussian": "ecb34b11b3a2f899e532cb9ce52df8209f2802ac3ab16ad4061eb4aac2e16c4a",
    "uniform": "113233b0fa54b268eac52d21ae9759d729d080c4822ab38154c1b56c2c4bad43",
    "bit_errors": "b742962c6e0669da80d7a11e60a1712348b5ec36b823973cd592c040b41cb78e",
    "stuck_at": "0ded24f56174b1c3f5d2ac7c63d1024de0a71f53619eff88dcda025a2b67e68a",
    "pcm": "a3be36df829ce1f57fdf5f181ececc568acafcdb6d4d5e34d48c5380969a20c3",
    "reram": "a546c4e510575765315ce256ad8212dd799fb1cca1d3e828eb561cc5c6fd620c",
}


@pytest.mark.parametrize("family", KNOWN)
def test_draws_are_what_they_always_were(family):
    z = noises.draw(family, {"w": torch.empty(40, 25)}, 3, 2, 1)["w"]
    assert hashlib.sha256(z.numpy().astype("<f4").tobytes()).hexdigest() == KNOWN[family]


def test_the_key_of_a_draw_is_stated():
    key = hashlib.sha256(b"3/2/1/w/stuck_at").digest()[:16]
    bits = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(3)
    words = [part for raw in bits for part in (int(raw) & 0xFFFFFFFF, int(raw) >> 32)]
    z = noises.draw("stuck_at", {"w": torch.empty(3)}, 3, 2, 1)["w"]
    assert z.flatten().tolist() == [(word >> 8) / 2**24 for word in words]


def test_the_default_family_has_the_draws_it_always_had():
    parameters = {"a": torch.empty(300, 400), "b": torch.empty(3, 2, 1, 1)}
    both = noises.draw("gaussian", parameters, 1, 2, 3), unit_noise(parameters, 1, 2, 3)
    assert all(torch.equal(both[0][name], both[1][name]) for name in parameters)


@pytest.mark.parametrize("family", RANDOM)
def test_draws_differ_between_seeds_draws_tensors_and_families(family):
    parameters = {"a": torch.empty(4, 3), "b": torch.empty(4, 3)}
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (12, 1, 0), (1, 21, 0)]
    found = [
        z.numpy().tobytes() for k in keys for z in noises.draw(family, parameters, *k).values()
    ]
    assert len({*found}) == len(found)


def test_families_share_draws_only_where_they_say_so():
    shapes = {"w": torch.empty(4, 3)}
    found = {name: noises.draw(name, shapes, 0, 0, 0)["w"].numpy().tobytes() for name in RANDOM}
    for name in RANDOM:
        alike = {other for other in RANDOM if found[other] == found[name]}
        stream = FAMILIES[name].stream or name
        assert alike == {n for n in RANDOM if (FAMILIES[n].stream or n) == stream}
    assert FAMILIES["pcm_uncompensated"].stream == "pcm"
    assert FAMILIES["quantization_8+pcm"].stream == "pcm"


def test_normals_are_drawn_in_parts_as_in_one():
    def stream():
        return np.random.Generator(np.random.Philox(key=5))

    n = draws._AT_ONCE + 3
    assert np.array_equal(
        draws.normals((n,), stream()), stream().standard_normal(n).astype(np.float32)
    )


def test_uniform_draws_are_symmetric_and_evenly_spread():
    u = torch.from_numpy(draws.symmetric((100_000,), np.random.Generator(np.random.Philox(key=0))))
    odd = u.double() * 2**24
    assert torch.equal(odd, odd.round()) and (odd.abs() < 2**24).all() and (odd % 2 == 1).all()
    assert abs(u.double().mean()) < 0.006 and abs(u.double().std() - 3**-0.5) < 0.004


# ---- Faults and time --------------------------------------------------------------------------


def codes_of(noisy: torch.Tensor, w: torch.Tensor, bits: int) -> torch.Tensor:
    """The codes that bit errors left, where the range did not cut them; else -1."""
    low, high, half = w.min().double(), w.max().double(), 2 ** (bits - 1)
    u = 2 * (noisy.double() - low) / (high - low) - 1
    codes = (u / (1.001 / (half - 1)) + half).round().long()
    return codes.where((codes > 1) & (codes < 2 * half - 1), -1)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_larger_rate_flips_the_same_bits_and_more(bits):
    family, w = "bit_errors" if bits == 8 else "bit_errors_4", weights(50, 40)
    z = z_of(family, w.shape)
    clean = codes_of(perturb(w, family, 1e-9, z), w, bits)
    found = [codes_of(perturb(w, family, p, z), w, bits) for p in (0.01, 0.05, 0.2, 0.5)]
    for fewer, more in itertools.pairwise(found):
        known = (clean >= 0) & (fewer >= 0) & (more >= 0)
        flipped, again = (fewer ^ clean)[known], (more ^ clean)[known]
        assert (flipped & ~again == 0).all() and (flipped != again).any()


@pytest.mark.parametrize("bits", [4, 8])
def test_every_bit_flips_at_the_rate(bits):
    family, w = "bit_errors" if bits == 8 else "bit_errors_4", weights(200, 200)
    z, clean = z_of(family, w.shape), None
    for rate in (1e-9, 0.2):
        noisy = perturb(w, family, rate, z)
        clean, codes = (
            codes_of(noisy, w, bits) if clean is None else clean,
            codes_of(noisy, w, bits),
        )
    low = z < 0.2
    assert abs(low.float().mean() - 0.2) < 0.005
    known = (clean >= 0) & (codes >= 0)
    for bit in range(bits):
        assert torch.equal(((codes ^ clean) >> bit & 1)[known].bool(), low[bit][known])


@pytest.mark.parametrize("family", [n for n in RATES if n.startswith("stuck")])
def test_a_larger_rate_hits_the_same_devices_and_more(family):
    w = weights(50, 40)
    z, before = z_of(family, w.shape), torch.zeros(50, 40, dtype=torch.bool)
    for rate in (0.001, 0.01, 0.05, 0.2, 0.5):
        moved = perturb(w, family, rate, z) != w
        assert (before & ~moved).sum() == 0 and moved.sum() > before.sum()
        before = moved


def test_stuck_devices_at_their_ends():
    """w = 0.4 is (0.4, 0), w = -0.2 is (0, 0.2), and max|W| is 0.5 on every device."""
    w = torch.tensor([0.4, 0.4, -0.2, -0.2, 0.5])
    u = torch.tensor([[0.0, 0.5, 0.5, 0.99, 0.5], [0.5, 0.99, 0.0, 0.5, 0.5]])
    expected = {
        "stuck_low": [0, 0.4, 0, -0.2, 0.5],
        "stuck_high": [0.4, 0.4 - 0.5, -0.2, 0.5 - 0.2, 0.5],
        "stuck_at": [0, 0.4 - 0.5, 0, 0.5 - 0.2, 0.5],
    }
    for family, values in expected.items():
        assert perturb(w, family, 0.02, u).tolist() == pytest.approx(values, abs=1e-7)
    assert torch.equal(perturb(w, "stuck_low", 1.0, u), torch.zeros(5))


def test_bit_errors_by_hand():
    """w of range [-1, 1]: 0.5 is code round(0.5·127/1.001 + 128) = 191 = 10111111₂ of 8 bits."""
    w, none = torch.tensor([-1.0, 0.5, 1.0]), torch.ones(8, 3)
    step = 1.001 / 127
    kept = perturb(w, "bit_errors", 0.01, none)
    assert kept.tolist() == pytest.approx([-1, 63 * step, 1], abs=1e-6)
    top, low = none.clone(), none.clone()
    top[7], low[0] = 0, 0  # the highest bit: codes 1, 191, 255 become 129, 63, 127
    flipped = perturb(w, "bit_errors", 0.01, top)
    assert flipped.tolist() == pytest.approx([step, -65 * step, -step], abs=1e-6)
    flipped = perturb(w, "bit_errors", 0.01, low)  # 0, 190, 254; the first is cut to the range
    assert flipped.tolist() == pytest.approx([-1, 62 * step, 126 * step], abs=1e-6)


@pytest.mark.parametrize("family", ["pcm", "pcm_uncompensated"])
def test_time_goes_on(family):
    """Of one chip, drift only takes conductance away, and the noise grows."""
    w, kind = weights(60, 50), FAMILIES[family]
    z = z_of(family, w.shape)
    noisy = [perturb(w, family, t, z) for t in (*kind.strengths, *kind.beyond)]
    sizes = [size.relative_size(w, each) for each in noisy]
    assert sizes == sorted(sizes)
    if family == "pcm_uncompensated":
        means = [each.abs().mean().item() for each in noisy]
        assert means == sorted(means, reverse=True)


def test_compensation_gives_back_the_mean():
    w = weights(60, 50)
    z = z_of("pcm", w.shape)
    noisy = perturb(w, "pcm", 86400, z)
    drifted = perturb(w, "pcm_uncompensated", 86400, z)
    z[5] = z[2] = 0  # without read noise, and hardly any drift, what is read is as programmed
    programmed = perturb(w, "pcm_uncompensated", 1e-9, z)
    assert noisy.abs().mean().item() == pytest.approx(programmed.abs().mean().item(), rel=1e-5)
    assert torch.allclose(noisy, drifted * (noisy / drifted).nanmedian(), rtol=1e-4)


# ---- Formulas, by hand ------------------------------------------------------------------------

ROWS = torch.tensor([[0.1, -0.3], [0.2, 0.4]])
Z = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
STD = math.sqrt(0.075 - 0.01)  # mean 0.1, mean square 0.075


@pytest.mark.parametrize(
    ("family", "strength", "expected"),
    [
        ("gaussian", 0.1, [0.1 + 0.1 * STD, -0.3 - 0.1 * STD, 0.2 + 0.05 * STD, 0.4 + 0.2 * STD]),
        ("gaussian_max", 0.1, [0.14, -0.34, 0.22, 0.48]),
        ("gaussian_channel", 0.1, [0.13, -0.33, 0.22, 0.48]),
        ("gaussian_absolute", 0.1, [0.2, -0.4, 0.25, 0.6]),
        ("uniform", 0.1, [0.1 + 0.1 * STD, -0.3 - 0.1 * STD, 0.2 + 0.05 * STD, 0.4 + 0.2 * STD]),
        ("multiplicative", 0.5, [0.15, -0.15, 0.25, 0.8]),
        ("lognormal", math.log(2), [0.2, -0.15, 0.2 * 2**0.5, 1.6]),
        (
            "lognormal_mean",
            math.log(2),
            [v * math.exp(-(math.log(2) ** 2) / 2) for v in (0.2, -0.15, 0.2 * 2**0.5, 1.6)],
        ),
        ("quantization", 0.28, [0.112, -0.336, 0.224, 0.448]),  # codes of 0.89, -2.7, 1.8, 3.6
        ("quantization_channel", 1, [0, -0.3, 0, 0.4]),  # codes 0, -1; 0 (of 0.5), 1
        ("quantization_8+gaussian_max", 0.1, [32 * 0.4 / 127 + 0.04, -95 * 0.4 / 127 - 0.04,
                                              64 * 0.4 / 127 + 0.02, 0.48]),
    ],
)  # fmt: skip
def test_formulas_by_hand(family, strength, expected):
    noisy = perturb(ROWS, family, strength, Z)
    assert noisy.flatten().tolist() == pytest.approx(expected, rel=1e-5)


def device(g: float, z1: float, z2: float, z3: float, t: float) -> float:
    """The PCM model of one device once more, in µS, from the paper's formulas."""
    x = g / 25
    programmed = max(0.0, g + (0.26348 + 1.965 * x - 1.1731 * x**2) * z1)
    log = math.log(max(x, 1e-7))
    mu = min(max(-0.0155 * log + 0.0244, 0.049), 0.1)
    sigma = min(max(-0.0125 * log - 0.0059, 0.008), 0.045)
    drifted = programmed * ((t + 20) / 20) ** -abs(mu + sigma * z2)
    q = min(0.2, 0.0088 / max((programmed / 25) ** 0.65, 1e-3))
    return max(0.0, drifted * (1 + q * math.sqrt(math.log((t + 20 + 250e-9) / 500e-9)) * z3))


@pytest.mark.parametrize("seconds", [1.0, 86400.0, 31536000.0])
def test_pcm_by_hand(seconds):
    w = weights(3, 4)
    z = z_of("pcm", w.shape)
    top = w.abs().max().item()
    expected = []
    for value, numbers in zip(w.flatten().tolist(), z.reshape(6, -1).T.tolist()):
        plus = device(max(value, 0) / top * 25, *numbers[:3], seconds)
        minus = device(max(-value, 0) / top * 25, *numbers[3:], seconds)
        expected.append((plus - minus) * top / 25)
    noisy = perturb(w, "pcm_uncompensated", seconds, z)
    assert noisy.flatten().tolist() == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_pcm_without_noise_only_drifts():
    """ν = 0.049 at the largest conductance: after a day (86420/20)^−0.049 = 0.6635 of it is left,
    and compensation finds it."""
    w, z = torch.tensor([[1.0, -1.0]]), torch.zeros(6, 1, 2)
    assert perturb(w, "pcm_uncompensated", 86400, z).tolist()[0] == pytest.approx(
        [0.66352, -0.66352], abs=1e-4
    )
    assert perturb(w, "pcm", 86400, z).tolist()[0] == pytest.approx([1, -1])


def test_reram_by_hand():
    """σ(40 µS) after 1 s is 0.348 + 16.03 − 43.853 + 45.393 − 16.815 = 1.103 µS; σ(0) is 0.348."""
    z = torch.tensor([[[1.0, -1.0]], [[2.0, -1.0]]])
    noisy = perturb(torch.tensor([[0.5, 0.0]]), "reram", 1, z)
    plus, minus = (40 + 1.103) / 40, 2 * 0.348 / 40
    assert noisy.tolist()[0] == pytest.approx([0.5 * (plus - minus), 0], rel=1e-5)
    for strength in (2.0, 3600.0):
        with pytest.raises(ValueError, match=r"takes one of .* 1, 86400, 172800, not"):
            perturb(ROWS, "reram", strength, z_of("reram", (2, 2)))
        with pytest.raises(ValueError, match="1, 86400, 172800 s after programming"):
            FAMILIES["reram"].apply(ROWS, z_of("reram", (2, 2)), strength)


def test_bits_and_the_other_convention():
    w, top = torch.tensor([[-127.5, 0.5, 31.8, 127.5]]), torch.tensor(127.5)
    q, step = rounding.codes(w, top, 1 / 127)
    assert q.tolist() == [[-127, 0, 32, 127]] and step.item() == pytest.approx(127.5 / 127)
    q, step = rounding.codes(w, top, 1 / 127.5)
    assert q.tolist() == [[-128, 0, 32, 127]] and step.item() == 1
    shown = {1 / 127: "8 bits", 1 / 7: "4 bits", 1: "2 bits", 1 / 127.5: "8 bits (half step)",
             1 / 7.5: "4 bits (half step)", 0.3: "step 0.3"}  # fmt: skip
    assert {s: rounding.show_bits(s) for s in shown} == shown
    for bits in range(2, 25):
        assert rounding.show_bits(rounding.step_of_bits(bits)) == f"{bits} bits"
    for bits in (1, 2.5, 25):
        with pytest.raises(ValueError, match="whole number of bits from 2 to 24"):
            rounding.step_of_bits(bits)


def test_times_are_written_as_people_do():
    times = (1, 60, 3600, 86400, 30 * 86400, 31536000, 315360000, 0.5, 5400)
    assert [pcm.show_time(t) for t in times] == [
        *("1 s", "1 min", "1 h", "1 d", "30 d", "1 y", "10 y", "0.5 s", "1.5 h")
    ]


# ---- Moments, and the sizes that were published ------------------------------------------------


@pytest.mark.parametrize(
    ("family", "strength", "expected"),
    [
        *(("quantization", rounding.step_of_bits(b), s)
          for b, s in ((8, 0.011), (6, 0.043), (5, 0.09), (4, 0.19), (3, 0.45), (2, 0.97))),
        *(("bit_errors", p, s)
          for p, s in ((0.001, 0.16), (0.01, 0.51), (0.05, 1.15), (0.2, 2.1))),
        *(("lognormal", s, math.sqrt(math.exp(2 * s**2) - 2 * math.exp(s**2 / 2) + 1))
          for s in (0.1, 0.3, 0.5, 1)),
        *(("lognormal_mean", s, math.sqrt(math.exp(s**2) - 1)) for s in (0.1, 0.3, 0.5, 1)),
        *(("pcm", t, s) for t, s in ((1, 0.15), (86400, 0.19), (pcm.YEAR, 0.24))),
        *(("pcm_uncompensated", t, s) for t, s in ((1, 0.14), (86400, 0.37), (pcm.YEAR, 0.52))),
        *(("reram", t, s) for t, s in ((1, 0.21), (86400, 0.34))),
        *(("gaussian", s, s) for s in (0.1, 1)),
        *(("multiplicative", s, s) for s in (0.1, 1)),
        ("gaussian_max", 0.1, 0.466), ("gaussian_absolute", 0.1, 0.1), ("uniform", 0.3, 0.1732),
        ("stuck_low", 0.09, 0.3),
        ("stuck_high", 0.01, 0.1 * math.sqrt(2 * 4.66**2 - 2 * 4.66 * 0.798 + 1)),
        ("quantization_4+gaussian", 0.1, math.hypot(0.19, 0.1)),
    ],
)  # fmt: skip
def test_the_size_on_a_gaussian_tensor(family, strength, expected):
    realised = size.realised({"w": WIDE}, family, strength, draws=1).overall.mean
    assert realised == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize(
    ("family", "growth"), [("lognormal", math.exp(0.125)), ("lognormal_mean", 1)]
)
def test_the_mean_of_lognormal_noise(family, growth):
    w = torch.ones(300_000)
    assert perturb(w, family, 0.5, z_of(family, w.shape)).mean().item() == pytest.approx(
        growth, rel=0.005
    )


# ---- Compositions -----------------------------------------------------------------------------


def test_a_composition_is_one_after_the_other_on_the_chips_of_the_second():
    w, name = weights(20, 10), "quantization_4+gaussian"
    z = noises.draw(name, {"w": w}, 0, 1, 2)["w"]
    assert torch.equal(z, unit_noise({"w": w}, 0, 1, 2)["w"])
    first = perturb(w, "quantization", 1 / 7, z)
    assert torch.equal(perturb(w, name, 0.1, z), perturb(first, "gaussian", 0.1, z))
    assert FAMILIES[name].show(0.1) == "0.1" and "4 bits" in FAMILIES[name].meaning


FIRST = "gaussian_0.1 stuck_at_0.01 pcm_86400 bit_errors_4_0.05 quantization_channel_6"


@pytest.mark.parametrize("first", FIRST.split())
@pytest.mark.parametrize("second", ["gaussian", "pcm", "quantization", "bit_errors"])
def test_any_two_are_composed(first, second):
    w, kind = weights(20, 10), noises.find(f"{first}+{second}")
    name, _, number = first.rpartition("_")
    z, strength = z_of(f"{first}+{second}", w.shape), FAMILIES[second].strengths[1]
    one, two = FAMILIES[name], FAMILIES[second]
    parts = z.reshape(-1, 20, 10) if z.numel() else z.reshape(0, 20, 10)
    own = parts[: one.numbers].reshape(-1, 20, 10) if one.numbers != 1 else parts[0]
    rest = parts[one.numbers :] if two.numbers != 1 else parts[one.numbers]
    between = perturb(w, name, one.named(float(number)), own)
    assert torch.equal(
        perturb(w, f"{first}+{second}", strength, z), perturb(between, second, strength, rest)
    )
    assert kind.strengths == two.strengths and kind.random == (one.random or two.random)


@pytest.mark.parametrize(
    "name",
    [
        *("", "+", "_1+pcm", "nothing", "gaussian_0.1", "quantization+gaussian"),
        *("nothing_4+gaussian", "quantization_4+nothing"),
    ],
)
def test_unknown_names(name):
    with pytest.raises(KeyError):
        noises.find(name)


def test_a_composition_whose_number_means_nothing():
    for name in ("quantization_1+gaussian", "bit_errors_2+gaussian", "reram_5+gaussian"):
        with pytest.raises(ValueError, match="takes"):
            noises.find(name)


def test_a_family_of_ones_own_is_composed_too():
    own = replace(FAMILIES["gaussian"], apply=lambda w, z, strength: w * 2, jumps=True)
    kind = composed.compose("quantization", 1.0, "own", FAMILIES | {"own": own})
    assert kind.apply(torch.tensor([0.1, 1.0]), torch.zeros(2), 1.0).tolist() == [0, 2]
    assert kind.jumps and kind.stream == "own"


# ---- Size -------------------------------------------------------------------------------------


def test_sizes_of_a_model_with_their_spread():
    parameters = {"a": weights(200, 100), "b": 7 * weights(20, 10), "c": torch.full((5, 5), 0.3)}
    found = size.realised(parameters, "gaussian", 0.1, draws=4)
    assert math.isnan(found.tensors["c"].mean)
    assert found.tensors["a"].draws == 4 and 0 < found.tensors["a"].std < found.tensors["b"].std
    a, b = found.tensors["a"], found.tensors["b"]
    assert a.mean == pytest.approx(0.1, rel=0.02) and b.mean == pytest.approx(0.1, rel=0.15)
    sizes, overall = size.measure(
        parameters, "gaussian", 0.1, noises.draw("gaussian", parameters, 0, 0, 0)
    )
    expected = math.sqrt((20_000 * sizes["a"] ** 2 + 200 * sizes["b"] ** 2) / 20_200)
    assert overall == pytest.approx(expected)
    rounded = size.realised(parameters, "quantization", 1 / 7)
    assert rounded.overall.draws == 1 and math.isnan(rounded.overall.std)
    assert math.isnan(size.realised({}, "gaussian", 0.1).overall.mean)


def test_size_by_hand():
    w, noisy = torch.tensor([[1.0, -1.0]]), torch.tensor([[1.5, -1.0]])
    assert size.relative_size(w, noisy) == pytest.approx(math.sqrt(0.25 / 2))
    assert relative_std(w).item() == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_strength_of_a_size(family):
    kind, parameters = FAMILIES[family], {"w": WIDE[:100]}
    middle = kind.strengths[len(kind.strengths) // 2]
    z = noises.draw(family, parameters, 0, 0, 0)
    target = size.measure(parameters, family, middle, z)[1]
    if not kind.divisible or family.startswith("bit_errors"):
        assert size.strength_of(parameters, family, target) == pytest.approx(middle, rel=0.01)
    else:
        found = size.strength_of(parameters, family, target)
        assert size.measure(parameters, family, found, z)[1] == pytest.approx(target, rel=0.01)
    assert size.strength_of(parameters, family, 1e9) is None
    if kind.jumps:
        assert size.strength_of(parameters, family, 1e-3) is None


# ---- Training ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_straight_through_has_the_noisy_values_and_the_gradient_of_the_weight(family):
    w = weights(6, 5).requires_grad_()
    noisy = perturb(w, family, FAMILIES[family].strengths[-1], z_of(family, w.shape))
    through = straight_through(w, noisy)
    assert torch.equal(through, noisy)
    (through * torch.arange(30.0).view(6, 5)).sum().backward()
    assert w.grad.flatten().tolist() == list(range(30))


def test_what_is_differentiated_where_it_is_not_1():
    w = weights(6, 5).requires_grad_()
    z = z_of("multiplicative", w.shape)
    for family, factor in (("multiplicative", 1 + 0.3 * z), ("lognormal", (0.3 * z).exp())):
        (gradient,) = torch.autograd.grad(FAMILIES[family].apply(w, z, 0.3).sum(), w)
        assert torch.allclose(gradient, factor)
        assert FAMILIES[family].gradient != "1"
