"""Where one more seed's value would lie, from those of other seeds. No torch."""

import math
from collections.abc import Sequence


def prediction_interval(
    values: Sequence[float], level: float, least: float = 0.0
) -> tuple[float, float] | None:
    """Return the interval that holds the next value of the same normal distribution.

    mean ± t · s · √(1 + 1/n), with Student's t of n − 1 degrees (Hahn and Meeker, 1991, section
    4.7).

    Args:
        values: those of n other seeds.
        level: the probability, such as 0.95.
        least: what the variance s² is taken as at least.

    Returns:
        Low and high; None of fewer than two values.
    """
    n = len(values)
    if n < 2:
        return None
    from scipy import stats  # only here: no worker's start waits for it

    mean = sum(values) / n
    spread = sum((v - mean) ** 2 for v in values) / (n - 1)
    half = stats.t.ppf((1 + level) / 2, n - 1) * math.sqrt(max(spread, least) * (1 + 1 / n))
    return mean - half, mean + half


def counting_variance(accuracy: float, total: int) -> float:
    """Return the variance of an accuracy that comes from counting `total` images, p (1 − p) / N; of
    one image, where all or none are right."""
    return max(accuracy * (1 - accuracy), 1 / total) / total
