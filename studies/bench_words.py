"""Numbers that stand in the words of `docs/methods.md`, from the committed records of the bench."""

from collections.abc import Iterator

import pandas as pd

from analysis.curves import crossing
from analysis.endpoints import COST, TOLERANCE
from analysis.intervals import RUN, draw_means, half_width
from reporting import results
from studies.bench import INJECTION
from studies.benched import (
    BY_RANGE,
    CHANCE,
    CLEAN,
    FOLDERS,
    LONGER,
    POWER,
    SAME_POWER,
    number,
    points_below,
    ratios,
    read,
)


def curves(rows: pd.DataFrame, architecture: str) -> Iterator[tuple[tuple, pd.DataFrame]]:
    """Yield each run of an architecture with its mean accuracies by rising strength, 0 first."""
    means = draw_means(rows[rows.architecture == architecture])
    means = means.astype({"architecture": str, "regime": str})
    yield from means.sort_values("alpha").groupby(RUN)


def strength_at(part: pd.DataFrame, level: float) -> float:
    """Return the strength at which a run's accuracy falls to a level; NaN where it is not known."""
    noisy = part[part.alpha > 0]
    low, high = crossing(noisy.alpha.to_numpy(), noisy.accuracy.to_numpy(), level)
    return low if low == high else float("nan")


def to_level(rows: pd.DataFrame, architecture: str, level: float) -> dict[tuple[str, str], str]:
    """Return how much noise a method stands until so many are correct, over plain training."""
    return ratios({run: strength_at(part, level) for run, part in curves(rows, architecture)})


def to_ninety() -> str:
    """Return how much Gaussian noise the MLP stands until 90% correct over that of plain training:
    of the methods that start more than two points below it, and of the most tolerant two."""
    said = to_level(results.read(FOLDERS[0]).rows, "mlp", 0.9)
    ranks = read("ranking")
    ranks = ranks[(ranks.architecture == "mlp") & (ranks.noise == "gaussian")]
    ranks = ranks.sort_values("tolerance", ascending=False)
    low = [name for name in ranks.regime[ranks.cost > 2] if ("mlp", name) in said]
    parts = [f"`{name}` {said['mlp', name]}" for name in (*low, *ranks.regime[:2])]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def beyond() -> str:
    """Return the methods that stand more Gaussian noise than plain injection, and how much more."""
    ends = read("methods")
    mine = ends[(ends.noise == "gaussian") & (ends.baseline == INJECTION)]
    mine = mine[(mine.endpoint == TOLERANCE) & (mine.verdict == "better")]
    said = []
    for name, rows in mine.groupby("architecture", sort=False):
        ordered = rows.sort_values("value_low", ascending=False)
        listed = ", ".join(f"`{row.regime}` {number(row, '× ')}" for _, row in ordered.iterrows())
        said.append(f"{listed} ({name})")
    return "; ".join(said)


def less() -> str:
    """Return by how much less noise in training costs the ViT when it is trained for its own
    epochs, twice those of the bench: the same seeds and test images."""
    costs = []
    for folder in (FOLDERS[0], LONGER):
        table = pd.read_csv(folder / "summary.csv").query("architecture == 'vit'")
        start = 100 * table.pivot(index="seed", columns="regime", values="acc_0")
        costs.append(-start[[INJECTION, "varied"]].sub(start[CLEAN], axis=0))  # (seeds, methods)
    parts = []
    for name, gap in (costs[0] - costs[1]).items():
        of = costs[0][name].mean()
        parts.append(f"of `{name}`'s {of:.2f} points {gap.mean():.2f} ± {half_width(gap):.2f}")
    return " and ".join(parts)


def same_power() -> str:
    """Return what `varied` stands over injection at the same power, and what it costs beside it."""
    ends = read("methods", (POWER,))
    ends = ends[(ends.baseline == INJECTION) & (ends.regime == SAME_POWER)]
    said = []
    for name, rows in ends.groupby("architecture", sort=False):
        rows = rows.set_index("endpoint")
        tolerance, cost = rows.loc[TOLERANCE], rows.loc[COST]
        said.append(
            f"{number(tolerance, '× ')} ({tolerance.verdict}) and costs {number(cost)} points more "
            f"({cost.verdict}) on the {name}"
        )
    return "; ".join(said)


def start_low() -> str:
    """Return what the ViT's α₅₀ do not show: where `varied` is below injection, and what both stand
    until 80% correct over plain training, noise by noise."""
    start = pd.read_csv(FOLDERS[0] / "summary.csv").query("architecture == 'vit'")
    start = 100 * start[start.regime == "varied"].acc_0.mean()
    gaussian, further = results.read(FOLDERS[0]).rows, results.read(FOLDERS[1]).families
    below = points_below(gaussian, "vit", "varied")
    parts = []
    for name, rows in {"gaussian": gaussian, **further}.items():
        if said := to_level(rows, "vit", 0.8):
            both = ", ".join(f"`{r}` {said['vit', r]}" for r in (INJECTION, "varied"))
            parts.append(f"under {name} {both}")
    return (
        f"starts at {start:.1f}% and is {below.min():.1f} to {below.max():.1f} points below "
        f"`{INJECTION}` at every α up to {below.index[-1]:g}; to 80% correct stand, "
        f"of what plain training does (95%, the two together), {'; '.join(parts)}"
    )


def odd_seed() -> str:
    """Return the rates of bit errors that the CNN's plainly trained models stand until halfway, and
    over these what the methods stand without the seed that breaks first."""
    found = {}
    for run, part in curves(results.read(FOLDERS[1]).families[BY_RANGE], "cnn"):
        found[run] = strength_at(part, (part.accuracy.iloc[0] + CHANCE) / 2)
    plain = {seed: 100 * rate for (_, regime, seed), rate in found.items() if regime == CLEAN}
    odd = min(plain, key=plain.get)
    first, second, *_, last = sorted(plain.values())
    left = ratios({run: rate for run, rate in found.items() if run[-1] != odd})
    said = ", ".join(f"`{regime}` {text}" for (_, regime), text in left.items())
    return (
        f"one seed of {len(plain)} breaks at {first:.1f}% of bits, the others at {second:.1f} to "
        f"{last:.1f}%; without it: {said}"
    )
