"""What two stages of draws reach, against a rule that stops when lucky: `two_stage.json`.

    python benchmarks/two_stage.py           # all of it, about a minute on one core

Draws are of one strength, of both regimes of a seed with the same noise. `STATISTICS.md` has the
tables in words.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from analysis import stages  # noqa: E402
from analysis.verdicts import t_factor  # noqa: E402
from benchmarks.truths import keep, measured, population  # noqa: E402
from config import LEAST_DRAWS  # noqa: E402
from machine.words import run as run_script  # noqa: E402

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
PRECISION, MOST = 0.01, 1000
SEEDS = (3, 6)
RESNET = 0.7
"""Strength at which ResNet-18's draws are skewed: it begins to break."""
SHARES = ((0.1, 30), (0.2, 20), (0.2, 30), (0.2, 50), (0.33, 30))
"""Of the variance over seeds that draws may leave, and most draws, that were weighed."""


def makers(rows) -> dict[str, tuple[Draw, float]]:
    """Return kinds of draws of one model, around their mean: how they are made, and their mean."""
    alphas, pool = population(rows, "resnet18")
    own = pool[:, :, list(alphas).index(RESNET)]  # (regimes, seeds, draws)
    own = (own - own.mean(axis=2, keepdims=True)).ravel() * np.sqrt(5 / 4)

    def falls(rate: float, depth: float) -> Draw:
        def make(rng, shape):
            return 0.01 * rng.normal(size=shape) - depth * (rng.uniform(size=shape) < rate)

        return make

    return {
        "normal": (lambda rng, shape: 0.03 * rng.normal(size=shape), 0.0),
        "lower mode, 20%": (falls(0.2, 0.05), -0.01),
        "collapses, 5%": (falls(0.05, 0.4), -0.02),
        "resnet18, α = 0.7": (lambda rng, shape: rng.choice(own, size=shape), float(own.mean())),
    }


def stops_when_lucky(draws: np.ndarray) -> int:
    """Return where the rule of before stopped: the first n, ten at least, at which the t-interval
    of the mean over the first n draws, (`MOST`,), is as short as asked for."""
    n = np.arange(1, len(draws) + 1)
    square = np.cumsum(draws**2) - np.cumsum(draws) ** 2 / n
    sd = np.sqrt(np.maximum(square, 0) / np.maximum(n - 1, 1))
    half = t_factor(n) * np.maximum(sd, 1e-4) / np.sqrt(n)
    good = np.flatnonzero(half[LEAST_DRAWS - 1 :] <= PRECISION)
    return LEAST_DRAWS + int(good[0]) if len(good) else len(draws)


def known_mean(make: Draw, mean: float, seeds: int, repeats: int) -> dict[str, dict[str, float]]:
    """Return coverage of ± `PRECISION` by the mean of one model, bias in points, mean number, and
    how often the most draws were not enough; coverage is of those in which they were."""
    found = {"stops when lucky": [], "two stages": []}
    for i in range(repeats):
        rng = np.random.default_rng([1, i])
        draws = make(rng, (seeds, MOST))
        first = {"clean": draws[:, :LEAST_DRAWS]}
        wanted = stages.draws_for_precision(first, PRECISION, 1e-4)
        n = int(np.clip(wanted, LEAST_DRAWS, MOST))
        found["two stages"].append((draws[0, :n].mean() - mean, n, wanted > MOST))
        n = stops_when_lucky(draws[0])
        found["stops when lucky"].append((draws[0, :n].mean() - mean, n, n == MOST))
    out = {}
    for rule, lines in found.items():
        off, n, over = np.array(lines).T
        told = off[over == 0]
        out[rule] = {
            "coverage": float((np.abs(told) <= PRECISION).mean()) if len(told) else None,
            "bias": float(100 * off.mean()),
            "draws": float(n.mean()),
            "not enough": float(over.mean()),
        }
    return out


def made(make: Draw, rng, seeds: int, between: float, most: int) -> np.ndarray:
    """Return draws of the regimes of seeds, (2, seeds, most): half of the variance in common."""
    common, own = make(rng, (1, seeds, most)), make(rng, (2, seeds, most))
    mixed = np.where(rng.uniform(size=(1, seeds, most)) < 0.5, common, own)
    return mixed + between * rng.normal(size=(2, seeds, 1))


def effects(
    make: Draw, seeds: int, between: float, share: float, most: int, repeats: int
) -> dict[str, float]:
    """Return what a paired effect of 0 has: coverage of its 95% interval over seeds, with the floor
    of the report, bias in points, mean half-width beside that with ten and with endless draws."""
    usual, stages.SHARE = stages.SHARE, share
    lines = []
    for i in range(repeats):
        draws = made(make, np.random.default_rng([2, i]), seeds, between, 1000)
        first = dict(zip(("clean", "noisy"), draws[:, :, :LEAST_DRAWS], strict=True))
        n = int(np.clip(stages.draws_beside_seeds(first), LEAST_DRAWS, most))
        line = [n]
        for number in (n, LEAST_DRAWS, most, 1000):
            effect, half = interval(draws[:, :, :number])
            line += [effect, half]
        lines.append(line)
    stages.SHARE = usual
    n, effect, half, ten, short, _, many, _, endless = np.array(lines).T
    return {
        "coverage": float((np.abs(effect) <= half).mean()),
        "ten": float((np.abs(ten) <= short).mean()),
        "bias": float(100 * effect.mean()),
        "error": float(100 * effect.std() / np.sqrt(repeats)),
        "draws": float(n.mean()),
        "longer": float(half.mean() / endless.mean()),
        "ten longer": float(short.mean() / endless.mean()),
        "most longer": float(many.mean() / endless.mean()),
    }


def interval(draws: np.ndarray) -> tuple[float, float]:
    """Return mean and half-width of the paired effect of draws (2, seeds, n), as the report's."""
    seeds, n = draws.shape[1:]
    pairs = draws[1] - draws[0]
    apart = draws.var(axis=2, ddof=1).sum(axis=0)
    within = np.maximum(pairs.var(axis=1, ddof=1), apart).mean() / n
    means = pairs.mean(axis=1)
    sd = max(means.std(ddof=1), np.sqrt(within), 1e-4)
    return float(means.mean()), float(t_factor(seeds) * sd / np.sqrt(seeds))


def simulate(repeats: int) -> dict:
    """Return all of it."""
    kinds = makers(measured())
    known = [
        {"data": name, "seeds": seeds, **known_mean(*kind, seeds, repeats)}
        for name, kind in kinds.items()
        for seeds in SEEDS
    ]
    found = []
    for name, (make, _) in kinds.items():
        spread = float(make(np.random.default_rng(0), (100_000,)).std())
        for part in (0.5, 0.1):  # of the variance with ten draws, what draws leave
            between = spread * np.sqrt((1 - part) / part / LEAST_DRAWS)
            for seeds in SEEDS:
                line = {"data": name, "part": part, "seeds": seeds}
                rates = effects(make, seeds, between, stages.SHARE, stages.MOST_DRAWS, repeats)
                found.append(line | rates)
                print(found[-1], flush=True)
    weighed = []
    make = kinds["normal"][0]
    for share, most in SHARES:
        for part in (0.7, 0.5, 0.3, 0.1):
            between = 0.03 * np.sqrt((1 - part) / part / LEAST_DRAWS)
            line = {"share": share, "most": most, "part": part}
            weighed.append(line | effects(make, 3, between, share, most, repeats // 2))
    return {"repeats": repeats, "known": known, "effects": found, "weighed": weighed}


def main(repeats: int = 1000, out: Path = ROOT / "benchmarks" / "two_stage.json") -> None:
    """Simulate two stages of draws, and write the file.

    Args:
        repeats: experiments of each kind.
        out: the file.
    """
    keep(simulate(repeats), out)


if __name__ == "__main__":
    run_script(main)
