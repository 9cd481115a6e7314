"""Ways to judge many strengths at once that were weighed against each other, for `simulate.py`.

Each takes what seeds measured, (experiments, seeds, strengths), and the least spread over seeds,
(experiments, strengths), and returns which strengths it resolves. Bonferroni and Holm use t-tests;
sign flips permute (exact where differences are symmetric; 2⁶ flips are the fewest that can reject
at 5%), stepping down with the largest statistic of what is left; max-t takes the correlation of the
strengths as the seeds show it.
"""

import itertools

import numpy as np
from scipy import stats

LEVEL = 0.95
FEWEST = 6
"""Seeds below which sign flips can reject nothing at 5%."""


def statistics(means: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Return |t| of every strength, (experiments, strengths)."""
    sd = np.maximum(means.std(axis=1, ddof=1), least)
    return np.abs(means.mean(axis=1)) / sd * np.sqrt(means.shape[1])


def bonferroni(means: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Return what single-step t-tests resolve."""
    n, k = means.shape[1:]
    return statistics(means, least) >= stats.t.isf((1 - LEVEL) / (2 * k), n - 1)


def holm(means: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Return what t-tests resolve by Holm's step-down method."""
    n, k = means.shape[1:]
    t = statistics(means, least)
    order = np.argsort(-t, axis=1)
    limits = stats.t.isf((1 - LEVEL) / (2 * (k - np.arange(k))), n - 1)
    passed = np.cumprod(np.take_along_axis(t, order, 1) >= limits, axis=1).astype(bool)
    out = np.zeros_like(passed)
    np.put_along_axis(out, order, passed, 1)
    return out


def sign_flips(means: np.ndarray, least: np.ndarray, most: int = 128) -> np.ndarray:
    """Return what flips of whole seeds resolve, stepping down; nothing with fewer than six."""
    experiments, n, k = means.shape
    out = np.zeros((experiments, k), dtype=bool)
    if n < FEWEST:
        return out
    rng = np.random.default_rng(0)
    signs = np.array([(1, *rest) for rest in itertools.product((1, -1), repeat=n - 1)])
    if len(signs) > most:  # the unflipped one, and a random choice of the others
        signs = signs[np.append(0, rng.choice(np.arange(1, len(signs)), most - 1, replace=False))]
    for i, (own, floor) in enumerate(zip(means, np.broadcast_to(least, out.shape), strict=True)):
        flipped = signs[:, :, None] * own  # (flips, seeds, strengths)
        t = statistics(flipped, floor)
        left = list(np.argsort(-t[0]))
        while left and (t[:, left].max(axis=1) >= t[0, left[0]] - 1e-12).mean() <= 1 - LEVEL:
            out[i, left.pop(0)] = True
    return out


def max_t(means: np.ndarray, least: np.ndarray, samples: int = 1000) -> np.ndarray:
    """Return what the largest |t| under the estimated correlation resolves, in a single step."""
    rng = np.random.default_rng(0)
    n = means.shape[1]
    away = means - means.mean(axis=1, keepdims=True)
    away /= np.maximum(away.std(axis=1, ddof=1, keepdims=True), 1e-12) * np.sqrt(n - 1)
    normal = rng.normal(size=(samples, n))
    scale = np.sqrt(rng.chisquare(n - 1, size=samples) / (n - 1))
    largest = np.stack([np.abs(normal @ own).max(axis=1) / scale for own in away])
    return statistics(means, least) >= np.quantile(largest, LEVEL, axis=1)[:, None]


METHODS = {"bonferroni": bonferroni, "holm": holm, "sign flips": sign_flips, "max-t": max_t}
