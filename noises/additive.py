"""Additive noise, relative to something else than the spread of a tensor; and uniform noise.

w' = w + s·c·z. The scale c says what strength 1 is. `noises.gaussian` has c = std(W).
"""

from noises.draws import symmetric
from noises.family import Family, ladder
from noises.scales import largest, largest_by_channel


def apply_max(w, z, strength):
    """Return w + strength·max|W|·z, with max|W| of the whole tensor.

    Unit: the largest weight of the tensor, which is the largest conductance of an analog chip.
    Typical: 0.02 to 0.1. Sources: aihwkit's weight modifier `ADD_NORMAL` (Rasch et al.,
    arXiv:2104.02184; 0.1 in its example 06); NeuRRAM (Wan et al., Nature 608, 504, 2022).
    """
    return w.addcmul(z, largest(w), value=strength).to(w.dtype)


def apply_channel(w, z, strength):
    """Return w + strength·c·z, with c = max|W| of the output channel (`largest_by_channel`).

    Unit: the largest weight of the output channel. Typical: 0.02 to 0.1. Sources:
    aihwkit-lightning's `ADD_NORMAL_PER_CHANNEL`; analog foundation models (Büchel et al.,
    arXiv:2505.09663) train at 0.03, clipping the noise at 2.5 of its standard deviations, which
    this does not.
    """
    return w.addcmul(z, largest_by_channel(w), value=strength).to(w.dtype)


def apply_absolute(w, z, strength):
    """Return w + strength·z, in the unit of the weights themselves.

    Unit: 1. Typical: 0.001 to 0.1; what it does depends on the scale of each tensor. Source: weight
    noise as in Graves et al., arXiv:1303.5778, at 0.075.
    """
    return w.add(z, alpha=strength).to(w.dtype)


def apply_uniform(w, z, strength):
    """Return w + strength·std(W)·u with u uniform in (−1, 1).

    Unit: half of the full width, in standard deviations of the tensor: the standard deviation of
    the noise is strength/√3 of them. Typical: 0.02 to 0.3. Source: CrossSim's uniform error
    models, whose magnitude M is the full width: strength = M/2, relative to what theirs is.
    """
    from noise import relative_std

    return w.addcmul(z, relative_std(w), value=strength).to(w.dtype)


gaussian_max = Family(
    meaning="the largest |w| of each weight tensor",
    strengths=(0.01, 0.02, 0.05, 0.1, 0.2),
    beyond=ladder(0.2, 10),
    apply=apply_max,
    signed=True,
)
gaussian_channel = Family(
    meaning="the largest |w| of each output channel",
    strengths=(0.01, 0.02, 0.05, 0.1, 0.2),
    beyond=ladder(0.2, 10),
    apply=apply_channel,
    signed=True,
)
gaussian_absolute = Family(
    meaning="a standard deviation of 1, in the unit of the weights",
    strengths=(0.001, 0.002, 0.005, 0.01, 0.02),
    beyond=ladder(0.02, 10),
    apply=apply_absolute,
    signed=True,
    relative=False,
)
uniform = Family(
    meaning="± one standard deviation of each weight tensor, uniformly",
    strengths=(0.01, 0.02, 0.05, 0.1, 0.2),
    beyond=ladder(0.2, 100),
    apply=apply_uniform,
    unit=symmetric,
    signed=True,
)
