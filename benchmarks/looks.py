"""What adding seeds after a look does to the error, and what mends it: `looks.json`.

    python benchmarks/looks.py               # all of it, about a minute on one core

Whoever adds seeds looks at 3 of them, then at 6, then at 10 (or on other ways), until something is
resolved. `STATISTICS.md` has the tables in words.
"""

import sys
from pathlib import Path

import numpy as np
from scipy import optimize

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from analysis import intervals, looks, verdicts  # noqa: E402
from benchmarks.truths import keep, make_rows, normal  # noqa: E402
from machine.words import run as run_script  # noqa: E402

WAYS = ((3, 6), (3, 6, 10), (3, 4, 5, 6), (6, 10))
RULES = {
    "5% each time": (0.05, 0.05, 0.05, 0.05),
    "5%, then half": (0.05, 0.025, 0.0125, 0.00625),
    "5%, then a fifth": (0.05, 0.01, 0.002, 0.0004),
    "4%, then a fifth": (0.04, 0.008, 0.0016, 0.00032),
    "2.5%, then half": (0.025, 0.0125, 0.00625, 0.003125),
}
"""Error of a t-test at each look."""
PRIOR = 0.1
"""Of the mixture of `always_valid`: the shortest at three seeds of those tried (0.1 to 3)."""
EFFECT = 1.5
"""True effect, in standard deviations over seeds, of which the power is shown."""


def ever(levels: tuple, way: tuple, x: np.ndarray) -> tuple[float, float]:
    """Return how often any look, and the last one, resolves something of seeds x, (repeats, n)."""
    found = []
    for level, n in zip(levels, way, strict=False):
        own = x[:, :n]
        t = np.abs(own.mean(axis=1)) / own.std(axis=1, ddof=1) * np.sqrt(n)
        found.append(t > verdicts.t_factor(n, level=1 - level))
    return float(np.any(found, axis=0).mean()), float(found[-1].mean())


def compare(repeats: int) -> list[dict]:
    """Return error and power of every rule and way, of one comparison of normal values."""
    out = []
    for way in WAYS:
        x = np.random.default_rng(len(way)).normal(size=(repeats, way[-1]))
        for name, levels in RULES.items():
            false, _ = ever(levels, way, x)
            power, last = ever(levels, way, x + EFFECT)
            line = {"way": list(way), "rule": name, "false": false, "power": power, "last": last}
            out.append(line)
    return out


def always_valid(n: int) -> float:
    """Return the factor of a standard error of intervals that hold at every number of seeds at
    once: the likelihood ratio of t, with a normal prior on effect / sd (Lai, 1976, Ann. Statist. 4;
    Wang and Ramdas, 2023)."""

    def log_ratio(t: float) -> float:
        wide, narrow = t**2 / (n - 1), t**2 * PRIOR / ((n + PRIOR) * (n - 1))
        ratio = n / 2 * (np.log1p(wide) - np.log1p(narrow))
        return ratio + np.log(PRIOR / (n + PRIOR)) / 2 - np.log(20)

    return float(optimize.brentq(log_ratio, 0, 1e6))


def words(repeats: int) -> list[dict]:
    """Return how many experiments without an effect have a false word in any look, by the words of
    the report: with one look's error each time, and with what it is now.

    Of two kinds of data: draws spread twice as far as seeds, which intervals allow for, or hardly.
    """
    alphas, wide, _ = normal(np.random.default_rng(0), repeats, 10, 0.0)
    mean = wide.mean(axis=4, keepdims=True)
    kinds = {"draws spread": wide, "draws hardly spread": mean + 0.01 * (wide - mean)}
    return [
        {"data": name, **line}
        for name, accuracy in kinds.items()
        for line in words_of(alphas, accuracy)
    ]


def words_of(alphas: np.ndarray, accuracy: np.ndarray) -> list[dict]:
    """Return the rates of `words` of one kind of data."""
    out = []
    for way in WAYS:
        found = {"5% each time": [], "now": []}
        for look, n in enumerate(way, start=1):
            rows = make_rows(alphas, accuracy[:, :, :n])
            for name, counted in (("5% each time", 1), ("now", look)):
                table = intervals.paired_effects(rows.assign(looks=counted))
                wrong = table.verdict.isin(verdicts.RESOLVED)
                found[name].append(wrong.groupby(table.architecture).any().to_numpy())
        rates = {name: float(np.any(each, axis=0).mean()) for name, each in found.items()}
        out.append({"way": list(way), **rates})
    return out


def main(
    repeats: int = 100_000, experiments: int = 1000, out: Path = ROOT / "benchmarks" / "looks.json"
) -> None:
    """Simulate looks at a growing number of seeds, and write the file.

    Args:
        repeats: single comparisons.
        experiments: with the report's words.
        out: the file.
    """
    counts = (3, 4, 5, 6, 10, 20)
    body = {
        "repeats": repeats,
        "experiments": experiments,
        "spent": looks.SPENT,
        "comparisons": compare(repeats),
        "words": words(experiments),
        "factors": [
            {"seeds": n, "t": float(verdicts.t_factor(n)), "always valid": always_valid(n)}
            for n in counts
        ],
    }
    keep(body, out)


if __name__ == "__main__":
    run_script(main)
