"""Where one more seed's accuracy would lie, from those of other seeds. No torch."""

import math
from collections.abc import Sequence


def prediction_interval(
    values: Sequence[float], total: int, level: float
) -> tuple[float, float] | None:
    """Return the interval that holds the next value of the same normal distribution.

    mean ± t · s · √(1 + 1/n), with Student's t of n − 1 degrees (Hahn and Meeker, 1991, section
    4.7). The spread s is taken as at least that of counting `total` images, p (1 − p) / total.

    Args:
        values: accuracies of n other seeds, fractions of 1.
        total: images on which each was measured.
        level: the probability, such as 0.95.

    Returns:
        Low and high; None of fewer than two values.
    """
    n = len(values)
    if n < 2:
        return None
    from scipy import stats  # only here: no worker's start waits for it

    mean = sum(values) / n
    spread = sum((v - mean) ** 2 for v in values) / (n - 1)
    floor = max(mean * (1 - mean), 1 / total) / total  # one image, where all or none are right
    half = stats.t.ppf((1 + level) / 2, n - 1) * math.sqrt(max(spread, floor) * (1 + 1 / n))
    return mean - half, mean + half
