"""Noise in proportion to each weight: a weight of 0 never moves."""

from noises.family import Family, ladder
from noises.scales import wide


def apply_multiplicative(w, z, strength):
    """Return w·(1 + strength·z).

    Unit: the weight itself. Typical: 0.1 to 0.7. Sources: aihwkit's `MULT_NORMAL`; Büchel et al.,
    "Network insensitivity to parameter noise via parameter attack during training" (ICLR 2022),
    whose mismatch is strength·|w|·z, the same in distribution.
    """
    return w.addcmul(w, z, value=strength).to(w.dtype)


def apply_lognormal(w, z, strength):
    """Return w·exp(strength·z), whose median is w and whose mean is w·exp(strength²/2).

    Unit: the standard deviation of ln|w'|. Typical: 0 to 1.5. Source: BayesFT (Ye et al., DAC
    2021), after the resistance of memristors.
    """
    return (z * strength).exp().mul(wide(w)).to(w.dtype)


def apply_lognormal_mean(w, z, strength):
    """Return w·exp(strength·z − strength²/2), whose mean is w: lognormal without the growth.

    Unit and range as for `apply_lognormal`, so that the two tell spread and growth apart.
    """
    return (z * strength).sub_(strength**2 / 2).exp().mul(wide(w)).to(w.dtype)


multiplicative = Family(
    meaning="each weight's own size",
    strengths=(0.05, 0.1, 0.2, 0.3, 0.5),
    beyond=ladder(0.5, 10),
    apply=apply_multiplicative,
    signed=True,
    gradient="1 + s·z",
)
lognormal = Family(
    meaning="a factor of e, up or down, to each weight",
    strengths=(0.05, 0.1, 0.2, 0.3, 0.5),
    beyond=ladder(0.5, 3),
    apply=apply_lognormal,
    gradient="exp(s·z)",
)
lognormal_mean = Family(
    meaning="a factor of e, up or down, to each weight, its mean kept",
    strengths=(0.05, 0.1, 0.2, 0.3, 0.5),
    beyond=ladder(0.5, 3),
    apply=apply_lognormal_mean,
    gradient="exp(s·z − s²/2)",
)
