"""Phase-change memory: programming noise, drift and read noise of pairs of devices over time.

The strength is the time in seconds after programming, so that α₅₀ becomes a retention time.

The statistical model of Nandakumar et al. (ICECS 2019, "Phase-change memory models for deep
learning training and inference"), fitted on a million devices (Joshi et al., Nature Communications
11, 2473, 2020), with the constants of aihwkit 1.1.0's `PCMLikeNoiseModel`, whose result it equals
for equal draws. With g in units of the largest conductance of 25 µS, max|W|:

- programmed: g_p = max(0, g + (0.26348 + 1.965 g − 1.1731 g²)/25 · z₁)
- drift exponent: ν = |μ + σ z₂| with μ = −0.0155 ln g + 0.0244 in [0.049, 0.1] and
  σ = −0.0125 ln g − 0.0059 in [0.008, 0.045], g ≥ 1e-7
- drifted: g_d = g_p · ((t + 20 s)/20 s)^(−ν)
- read: g' = max(0, g_d (1 + q √ln((t + 20 s + t_r)/2t_r) z₃)) with t_r = 250 ns and
  q = min(0.2, 0.0088/max(g_p^0.65, 1e-3))

z₁, z₂ and z₃ of a device stay as they are over time: it is the same chip, older. (aihwkit draws new
ones at each time.) At t > 0 there is all the programming noise already: accuracy jumps at 0, which
is the weight as it was meant.

Global drift compensation (Joshi et al.): a tensor is scaled by mean|W| as programmed over mean|W|
as read.
"""

from __future__ import annotations

import math
from functools import partial

from noises.devices import differences
from noises.draws import normals
from noises.family import Family
from noises.scales import largest, reciprocal, wide

PROGRAMMING = (0.26348, 1.965, -1.1731)  # µS, of g⁰, g¹, g²
G_MAX = 25.0  # µS
T_0 = 20.0  # s, of the first reading
T_READ = 250e-9  # s
YEAR = 31_536_000.0  # s


def show_time(seconds: float) -> str:
    """Return a time as "1 s", "1 min", "1 h", "30 d" or "10 y", in the largest unit it fills."""
    units = ((YEAR, "y"), (86400, "d"), (3600, "h"), (60, "min"))
    length, unit = next(((u, name) for u, name in units if seconds >= u), (1, "s"))
    return f"{seconds / length:.3g} {unit}"


def unit(shape, generator):
    """Return z₁, z₂, z₃ of the device of positive weights, then of the other, (6, *shape)."""
    return normals((6, *shape), generator)


def device(g, z1, z2, z3, seconds: float):
    """Return relative conductances (n,) as programmed, and as read after some seconds."""
    c0, c1, c2 = (c / G_MAX for c in PROGRAMMING)
    spread = (g * c2).add_(c1).mul_(g).add_(c0)
    log = g.clamp(min=1e-7).log_()
    programmed = g.addcmul_(spread, z1).clamp_(min=0)

    nu = (log * -0.0125).sub_(0.0059).clamp_(0.008, 0.045).mul_(z2)
    nu.add_(log.mul_(-0.0155).add_(0.0244).clamp_(0.049, 0.1)).abs_()
    drifted = nu.mul_(-math.log((seconds + T_0) / T_0)).exp_().mul_(programmed)

    root = math.sqrt(math.log((seconds + T_0 + T_READ) / (2 * T_READ)))
    q = programmed.pow(0.65).clamp_(min=1e-3).reciprocal_().mul_(0.0088).clamp_(max=0.2)
    read = q.mul_(root).mul_(z3).add_(1).mul_(drifted).clamp_(min=0)
    return programmed, read


def apply(w, z, strength, compensated: bool):
    """Return w as read `strength` seconds after it was programmed; see the top of this file.

    Typical: 1 s to a year; the range ends at ten years.
    """
    top = largest(w)
    x = wide(w).reshape(-1) * reciprocal(top)
    before, after = x.new_zeros(()), x.new_zeros(())
    for part, programmed, read in differences(x, z, partial(device, seconds=strength)):
        x[part] = read  # that part of x has been used
        if compensated:
            before += programmed.abs_().sum()
            after += read.abs_().sum()
    scale = before * reciprocal(after) * top if compensated else top
    return x.mul_(scale).view(w.shape).to(w.dtype)


pcm = Family(
    meaning="one second after programming, drift compensated",
    strengths=(1, 60, 3600, 86400, 30 * 86400, YEAR),
    beyond=(3 * YEAR, 10 * YEAR),
    apply=partial(apply, compensated=True),
    unit=unit,
    jumps=True,
    show=show_time,
    numbers=6,
    gradient="random, about the drift",
)
pcm_uncompensated = Family(
    meaning="one second after programming, drift not compensated",
    strengths=pcm.strengths,
    beyond=pcm.beyond,
    apply=partial(apply, compensated=False),
    unit=unit,
    jumps=True,
    show=show_time,
    stream="pcm",
    numbers=6,
    gradient="random, about the drift",
)
