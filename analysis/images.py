"""Images as a source of variation: what holds for these, what for new ones, and which break first.

Intervals over seeds say what would be measured with other seeds *on the same images*. Other images
of the same kind would give another number, too: seeds and images are crossed, each seed answers
each image. Of a regime's effect, the difference of answers d (other − baseline; −1, 0 or 1) of seed
s, draw k and image i is taken as

    d_ski = μ + seed_s + draw_sk + image_i + (what is left, seed × image among it)

with independent parts of variances σ²_seed, σ²_draw, σ²_image: a crossed random-effects model
(Searle, Casella and McCulloch, Variance Components, 1992, ch. 4-5). Its variances are estimated by
the means of squares of a two-way table, without assuming that anything is normal. The mean over S
seeds of K draws and I images then varies, over new seeds, draws *and images*, by

    V = σ²_seed / S + σ²_draw / (S K) + σ²_image / I + σ²_left / (S K I)

of which the variance of seed means / S estimates all but σ²_image / I: hence `with_images`. How
often that covers, and what was weighed against it: `benchmarks/STATISTICS.md`. No torch.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from scipy import stats

from analysis.verdicts import LEVEL

Who = tuple[str, str, int]
"""Architecture, regime, seed."""
Right = Callable[[float, int], np.ndarray]
"""Returns from strength and draw which images were answered right, (I,) booleans."""
Points = Mapping[float, Iterable[int]]
"""Draws by strength."""
FIRST = 10
"""How many images are shown."""


def image_variance(table: np.ndarray) -> float:
    """Return σ²_image of a table (S, I) of seeds and images.

    The mean squares of images and of what is left differ by S σ²_image; at least 0, NaN for one
    seed or image.
    """
    seeds, images = table.shape
    if min(seeds, images) < 2:
        return float("nan")
    left = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    residual = (left**2).sum() / ((seeds - 1) * (images - 1))
    return max(float(table.mean(axis=0).var(ddof=1) - residual / seeds), 0.0)


def with_images(half, variance, images, level: float = LEVEL):
    """Return the half-width of an interval that holds for new images too.

    The half-width for these images and that of the images' part, z σ_image / √I, are added as
    squares: never less than the former, whatever the number of seeds.

    Args:
        half: half-width over seeds, on these images.
        variance: σ²_image; NaN gives NaN.
        images: their number I.
    """
    z = stats.norm.isf((1 - level) / 2)
    return np.sqrt(np.square(half) + z**2 * np.asarray(variance) / images)


def components(differences: list[np.ndarray]) -> dict[str, float]:
    """Return the variance components of one effect.

    Args:
        differences: of each seed, (K, I) differences of answers; K may vary.

    Returns:
        seeds, draws (fewest), images (numbers), and the variances seed, draw and image, as defined
        above: of a single seed, draw and image. draw is NaN where no seed has two draws, seed and
        image with one seed.
    """
    by_draw = [part.mean(axis=1) for part in differences]  # (K,) each
    inside = [means.var(ddof=1) for means in by_draw if len(means) > 1]
    draw = float(np.mean(inside)) if inside else float("nan")
    means = np.array([m.mean() for m in by_draw])  # (S,)
    seed = float("nan")
    if len(means) > 1:
        drawn = 0.0 if np.isnan(draw) else float(np.mean([draw / len(m) for m in by_draw]))
        seed = max(float(means.var(ddof=1)) - drawn, 0.0)
    table = np.stack([part.mean(axis=0) for part in differences])  # (S, I)
    return {
        "seeds": len(differences),
        "draws": min(map(len, differences)),
        "images": table.shape[1],
        "seed": seed,
        "draw": draw,
        "image": image_variance(table),
    }


def effects(points: Mapping[Who, Points], right: Mapping[Who, Right], baseline: str) -> list[dict]:
    """Return `components` of each regime's effect against the baseline, by strength.

    Args:
        points, right: of the runs, which measurements there are, and their answers.
        baseline: the regime that others are compared with.

    Returns:
        For each architecture, regime and strength at which two paired seeds or more have a draw in
        common: architecture, regime, alpha and the components. Draws are paired: those that both
        runs of a seed have.
    """
    found = []
    groups = dict.fromkeys((a, r) for a, r, _ in points if r != baseline)
    for architecture, regime in groups:
        seeds = [
            (mine, (architecture, baseline, mine[2]))
            for mine in points
            if mine[:2] == (architecture, regime) and (architecture, baseline, mine[2]) in points
        ]
        for alpha in sorted({a for mine, _ in seeds for a in points[mine]}):
            parts = []
            for mine, base in seeds:
                both = {*points[mine].get(alpha, ())} & {*points[base].get(alpha, ())}
                if both:
                    answers = [
                        right[mine](alpha, k).astype(np.int8) - right[base](alpha, k)
                        for k in sorted(both)
                    ]
                    parts.append(np.stack(answers))  # (K, I)
            if len(parts) > 1:
                who = {"architecture": architecture, "regime": regime, "alpha": alpha}
                found.append({**who, **components(parts)})
    return found


def first_to_break(
    points: Mapping[Who, Points], right: Mapping[Who, Right], architecture: str, most: int = FIRST
) -> list[dict]:
    """Return the images of an architecture that become wrong at the smallest noise.

    Counted are the runs of the architecture, all regimes and seeds, that have bits at α = 0, and
    the strengths that each of them has. Of the images that every one of these models answers right
    without noise, p(α) is the share of right answers at α: over the draws of a model, then over the
    models, so that each counts alike; p(0) = 1. An image breaks at the first strength with p < ½;
    where between that and the strength before it, is interpolated linearly in α. First are those
    that break at the smallest α; of equal ones, those of smaller numbers. Images that keep
    p ≥ ½ at every strength do not break.

    Returns:
        At most `most`, in that order: image (its number among those that were measured), alpha
        (where it breaks), below (the strength at which p < ½ was seen) and share (p there).
    """
    runs = [who for who in points if who[0] == architecture and 0.0 in points[who]]
    if not runs:
        return []
    kept = np.logical_and.reduce([right[who](0.0, 0) for who in runs])  # (I,)
    numbers = np.flatnonzero(kept)
    common = sorted(set.intersection(*({*points[who]} for who in runs)) - {0.0})
    before, last = np.ones(len(numbers)), 0.0
    broken: dict[int, dict] = {}
    for alpha in common:
        share = np.zeros(len(numbers))
        for who in runs:
            draws = [right[who](alpha, k)[numbers] for k in points[who][alpha]]
            share += np.mean(draws, axis=0) / len(runs)
        for place in np.flatnonzero(share < 0.5 - 1e-9):  # a half of summed parts is a half
            image = int(numbers[place])
            if image not in broken:
                part = (before[place] - 0.5) / (before[place] - share[place])
                at = last + float(part) * (alpha - last)
                broken[image] = {"alpha": at, "below": alpha, "share": float(share[place])}
        if len(broken) >= most:
            break
        before, last = share, alpha
    order = sorted(broken, key=lambda image: (broken[image]["alpha"], image))
    return [{"image": image, **broken[image]} for image in order[:most]]
