"""Additive Gaussian noise, relative to the spread of the weights: the default family.

w' = w + α·s·z with z ~ N(0, 1), independent per element, and s the population standard deviation
of the clean w over the whole tensor. α = 0.1 moves every weight by a tenth of the typical weight.
"""

from noises.family import Family, ladder


def apply(w, z, strength):
    """Return w + strength·s·z, in the dtype of w."""
    from noise import relative_std

    return w.addcmul(z, relative_std(w), value=strength).to(w.dtype)


gaussian = Family(
    meaning="the standard deviation of each weight tensor",
    strengths=(0.01, 0.02, 0.05, 0.1, 0.2),
    beyond=ladder(0.2, 100),
    apply=apply,
    signed=True,
)
