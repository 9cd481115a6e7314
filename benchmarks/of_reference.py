"""The two endpoints on today's reference: how often three of its seeds resolve them, and how often
intervals hold on experiments drawn from it: `of_reference.json`.

    python benchmarks/of_reference.py        # some minutes on one core

`simulate.py` draws from a population of its own, of an earlier reference, whose sweeps ended before
the break. Here the sweeps go to it, and so all four architectures have a tolerance.
"""

import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from analysis import endpoints, intervals, verdicts  # noqa: E402
from benchmarks.simulate import SEEDS, judge_endpoints, true_tolerance  # noqa: E402
from benchmarks.truths import keep, population, resampled  # noqa: E402
from machine import words  # noqa: E402
from reporting.results import read  # noqa: E402

DRAWS = 10
"""Those that every strength has."""


def three_of_six(rows: pd.DataFrame) -> list[dict]:
    """Return, of the 20 choices of three of the six seeds, how many resolve each endpoint, and what
    part of the strengths above 0: a row per architecture."""
    found: dict[str, list[tuple]] = {}
    for seeds in itertools.combinations(sorted(rows.seed.unique()), 3):
        part = rows[rows.seed.isin(seeds)]
        effects = intervals.paired_effects(part)
        ends = endpoints.endpoints(part, effects=effects)
        above = effects[effects.alpha > 0]
        for name in rows.architecture.cat.categories:
            both = ends[ends.architecture == name].set_index("endpoint").verdict
            resolved = above[above.architecture == name].verdict.isin(verdicts.RESOLVED)
            words = (both[endpoints.COST], both[endpoints.TOLERANCE])
            found.setdefault(name, []).append((*np.isin(words, verdicts.RESOLVED), resolved.mean()))
    names = ("cost", "tolerance", "strengths")
    means = {name: np.mean(several, axis=0).tolist() for name, several in found.items()}
    return [{"architecture": name, **dict(zip(names, m))} for name, m in means.items()]


def common(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the first draws of the strengths that every run of an architecture has."""
    rows = rows[(rows.sign > 0) & (rows.draw < DRAWS)]
    run = rows.regime.astype(str) + rows.seed.astype(str)
    runs = run.groupby([rows.architecture, rows.alpha], observed=True).transform("nunique")
    return rows[runs == runs.groupby(rows.architecture, observed=True).transform("max")]


def simulate(rows: pd.DataFrame, repeats: int) -> list[dict]:
    """Return `judge_endpoints` of experiments of seeds and draws of each architecture, drawn with
    replacement; the truth is what its six seeds have."""
    found, rows = [], common(rows)
    for name in rows.architecture.cat.categories:
        alphas, pool = population(rows, name)
        for seeds in SEEDS:
            rng = np.random.default_rng([seeds, len(found)])
            data = resampled(rng, repeats, seeds, alphas, pool, DRAWS)
            line = judge_endpoints(data, true_tolerance(alphas, pool))
            found.append({"data": name, "seeds": seeds, **line})
            print(found[-1], flush=True)
    return found


def main(repeats: int = 500, out: Path = ROOT / "benchmarks" / "of_reference.json") -> None:
    """Judge the reference's seeds and experiments drawn from it, and write the file.

    Args:
        repeats: experiments of each architecture and number of seeds.
        out: the file.
    """
    rows = read(ROOT / "results" / "reference").rows
    body = {
        "repeats": repeats,
        "draws": DRAWS,
        "three_of_six": three_of_six(rows),
        "endpoints": simulate(rows, repeats),
    }
    keep(body, out)


if __name__ == "__main__":
    words.run(main)
