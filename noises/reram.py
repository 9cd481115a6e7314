"""Resistive memory, as measured on a chip at three times after programming.

Wan et al., "A compute-in-memory chip based on resistive random-access memory" (Nature 608, 504,
2022), in the fit of aihwkit's `ReRamWan2022NoiseModel`, read off the figures of the paper: a weight
is a pair of devices (`noises.devices`), the largest conductance is 40 µS, and with g relative to
that g' = max(0, g + σ(g)·z), σ a polynomial of fourth order in µS. aihwkit's default of 25 µS
leaves σ in µS as it is, because it sets an attribute of another name, and so has 1.6 times this
noise: `ReRamWan2022NoiseModel(g_max=40.0)` is the published one, and equal to this for equal draws.

Strength: the time in seconds, 1 s, 1 day or 2 days, and no other: there is no fit between them.
"""

from __future__ import annotations

from noises.devices import differences
from noises.draws import normals
from noises.family import Family
from noises.pcm import show_time
from noises.scales import largest, reciprocal, wide

G_MAX = 40.0  # µS
SPREAD = {  # s: µS, of g⁰ to g⁴
    1.0: (0.348, 16.03, -43.853, 45.393, -16.815),
    86400.0: (0.701, 22.086, -50.773, 47.095, -16.458),
    172800.0: (0.782, 20.274, -43.507, 37.062, -11.934),
}


def unit(shape, generator):
    """Return a normal for each of the two devices of each weight, (2, *shape)."""
    return normals((2, *shape), generator)


def apply(w, z, strength):
    """Return w as read `strength` seconds after it was programmed.

    Raises:
        ValueError: if the strength is none of the three times.
    """
    if strength not in SPREAD:
        times = ", ".join(f"{t:g}" for t in SPREAD)
        raise ValueError(f"reram was measured {times} s after programming, not {strength:g} s")
    c0, *_, c4 = (c / G_MAX for c in SPREAD[strength])
    between = [c / G_MAX for c in SPREAD[strength][3:0:-1]]

    def device(g, z1):
        spread = g * c4
        for c in between:
            spread.add_(c).mul_(g)
        return (g.addcmul_(spread.add_(c0), z1).clamp_(min=0),)

    top = largest(w)
    x = wide(w).reshape(-1) * reciprocal(top)
    for part, read in differences(x, z, device):
        x[part] = read  # that part of x has been used
    return x.mul_(top).view(w.shape).to(w.dtype)


reram = Family(
    meaning="one second after programming",
    strengths=tuple(SPREAD),
    apply=apply,
    unit=unit,
    divisible=False,
    jumps=True,
    show=show_time,
    numbers=2,
    gradient="random, about 1",
    listed=True,
)
