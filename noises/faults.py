"""Faults: bits that flip in memory, and devices that are stuck. The strength is a rate.

Nested: what a rate p hits, a larger one hits too, for each bit or device has one uniform number of
its own, a multiple of 2⁻²⁴ (`draws.uniforms`), and is hit where that is below p: exact to 6e-8.
"""

from __future__ import annotations

from functools import partial

from noises.devices import differences, parts
from noises.draws import uniforms
from noises.family import Family, ladder
from noises.scales import largest, reciprocal, wide


def percent(rate: float) -> str:
    """Return a rate such as 0.01 as "1%"."""
    return f"{100 * rate:g}%"


def bits_unit(shape, generator, bits: int):
    """Return a uniform number for each bit of each weight, (bits, *shape), lowest bit first."""
    return uniforms((bits, *shape), generator)


def apply_bits(w, z, strength, bits: int):
    """Return w as memory of some bits a weight holds it, each bit flipped at a rate.

    Robust quantisation (Stutz et al., "Bit error robustness for energy-efficient DNN
    accelerators", MLSys 2021, and their code): per tensor, with m bits, the range [min, max] onto
    u in [−1, 1], Δ = 1.001/(2^(m−1) − 1), unsigned codes round(min(u/Δ + 2^(m−1), 2^m − 1)), and
    back, cut to the range. As the rate goes to 0, the rounding stays: 0.01 of the standard
    deviation at 8 bits, 0.2 at 4. A second flip may undo a first: |w' − w| need not grow with the
    rate, only the set of flipped bits does.

    Unit: the probability of each bit. Typical: 0.1% to 20%, on 50 chips; at 50% nothing is left of
    the weight. Theirs flips biases too.
    """
    if not w.numel():
        return w.clone()
    x = wide(w).reshape(-1)
    low, high = x.aminmax()
    span, delta, half = high - low, 1.001 / (2 ** (bits - 1) - 1), 2 ** (bits - 1)
    u, out = z.reshape(bits, -1), x.new_empty(x.shape)  # (bits, ...) -> (bits, N)
    to_code = reciprocal(span) * 2
    for part in parts(x):
        q = (x[part] - low).mul_(to_code).sub_(1).div_(delta).add_(half)
        q = q.clamp_(max=2 * half - 1).round_().byte()
        for bit in range(bits if strength else 0):  # at rate 0 rounded, and no more
            q.bitwise_xor_((u[bit, part] < strength).byte().mul_(1 << bit))
        back = q.to(x.dtype).sub_(half).mul_(delta).clamp_(-1, 1).add_(1).div_(2)
        out[part] = back.mul_(span).add_(low).clamp_(low, high)
    return out.view(w.shape).to(w.dtype)


def stuck_unit(shape, generator):
    """Return a uniform number for each of the two devices of each weight, (2, *shape)."""
    return uniforms((2, *shape), generator)


def apply_stuck(w, z, strength, low: float, high: float):
    """Return w with some devices of its pairs stuck, at 0 or at the largest conductance, max|W|.

    A weight is a pair of devices (`noises.devices`); those with u < low·strength are stuck at 0,
    those with u ≥ 1 − high·strength at max|W|. Weights without such a device keep their bits.

    Unit: the probability of each device. Published: 1.75% low and 9.04% high of a 4-Mb RRAM chip
    (Chen et al., IEEE Trans. Comput. 64, 180, 2015); 5% (Joksas et al., Nature Communications 11,
    4273, 2020). Papers disagree on which of the two is "SA0"; hence the names.
    """
    top = largest(w)

    def device(g, u):
        g.masked_fill_(u < low * strength, 0)
        return (top.where(u >= 1 - high * strength, g),)

    x = wide(w).reshape(-1)
    out = x.new_empty(x.shape)
    for part, difference in differences(x, z, device):
        out[part] = difference
    return out.view(w.shape).to(w.dtype)


def bits_family(bits: int, jumps: bool) -> Family:
    """Return random bit errors in weights of some bits, at most 8."""
    return Family(
        meaning=f"every bit flipped, of {bits} bits a weight",
        strengths=(0.0001, 0.001, 0.01, 0.05, 0.2),
        beyond=(0.3, 0.5),
        apply=partial(apply_bits, bits=bits),
        unit=partial(bits_unit, bits=bits),
        jumps=jumps,
        show=percent,
        numbers=bits,
        gradient="0 almost everywhere",
        most=1.0,
    )


def stuck_family(where: str, low: float, high: float, most: float) -> Family:
    """Return stuck devices, of which shares are stuck at the low and at the high end."""
    return Family(
        meaning=f"every device stuck {where}",
        strengths=(0.0001, 0.001, 0.01, 0.05, 0.1),
        beyond=ladder(0.1, most),
        apply=partial(apply_stuck, low=low, high=high),
        unit=stuck_unit,
        show=percent,
        numbers=2,
        gradient="0 or 1",
        most=1.0,
    )


bit_errors = bits_family(8, jumps=False)
bit_errors_4 = bits_family(4, jumps=True)
stuck_at = stuck_family("at one end, half of them at each", 0.5, 0.5, most=1)
stuck_low = stuck_family("at the low end, 0", 1, 0, most=1)
# Beyond a half, pairs of which both devices are stuck at the same end bring weights to 0.
stuck_high = stuck_family("at the high end, max|W|", 0, 1, most=0.5)
