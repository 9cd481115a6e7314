"""What the bench of training methods found, for README and `docs/`: from its committed tables."""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.endpoints import COST, TOLERANCE
from analysis.intervals import RUN, draw_means, half_width
from analysis.verdicts import LEVEL
from reporting import results
from reporting.endpoints import ratio_digits
from reporting.side_by_side import say_size, trainings
from reporting.sizes import find_halfway, over_draws
from reporting.transfer import best_table
from reporting.words import FLAGGED
from store.records import load_all
from studies.bench import INJECTION, PLAIN
from studies.pilot import area
from studies.timed import ROOT
from studies.tuning import candidates

BENCH = ROOT / "results" / "bench"
"""Made by `studies.tuning` and `studies.bench`."""
TRANSFER = ROOT / "results" / "transfer"
"""Made by `studies.transfer`."""
FOLDERS = (BENCH / "gaussian", BENCH / "families")
"""Its two results folders: on all test images, and further noise on the first of them."""
STRONGER = BENCH / "stronger"
"""Injection at twice the strength, on the same models where they are the same; added afterwards."""
POWER = BENCH / "power"
"""`varied` at the power of injection, on the same models where they are the same; added, too."""
LONGER = BENCH / "longer"
"""The ViT with its own epochs, twice those of the bench: plain training and injection are the
reference's models."""
CLEAN = PLAIN[0]
CHANCE = 0.1
TWICE = "noisy:noise=2"
SAME_POWER = "varied:strength=0.626"
BY_RANGE = "bit_errors"
"""Of one rate it moves weights the less, the narrower their range is; so its size is told too."""


def tuned() -> str:
    """Return what was tried for each method and what was chosen, as a table."""
    found = pd.read_csv(BENCH / "tuning" / "tuning.csv")
    areas: dict[str, dict[int, float]] = {}
    for record in load_all(BENCH / "tuning" / "runs")[0]:
        who = record["identity"]
        rows = record["measurements"][0]["rows"]
        areas.setdefault(who["regime"], {})[who["seed"]] = 100 * area(rows)
    plain = pd.Series(areas[CLEAN])
    heads = ("regime", "parameter", "tried, **chosen**", "area", "above clean", "accuracy, %")
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---:|---:|---:|"]
    lines.append(f"| {CLEAN} | | | {plain.mean():.2f} | | |")
    for (regime, parameter), rows in found.groupby(["regime", "parameter"], sort=False):
        tried = [f"**{r.value:g}**" if r.chosen else f"{r.value:g}" for r in rows.itertuples()]
        best = rows[rows.chosen].iloc[0]
        own = pd.Series(areas[candidates(regime)[best.value]])
        cells = (regime, parameter, " ".join(tried) + (", an end" if best.at_the_end else ""))
        numbers = f"{own.mean():.2f} | {(own - plain).mean():+.2f} | {best.accuracy:.2f}"
        lines.append(f"| {' | '.join(cells)} | {numbers} |")
    return "\n".join(lines)


def transfer() -> str:
    """Return the best strength to train with for each noise that was measured, as a table."""
    best = pd.read_csv(TRANSFER / "best.csv")
    best = best[(best.alpha > 0) | (best.noise == "gaussian")]  # without noise all are the same
    found = best_table(best, "mlp")
    rows = [found.header, ["---"] * len(found.header), *found.body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def read(name: str, folders: tuple[Path, ...] = FOLDERS) -> pd.DataFrame:
    """Return a table of the folders; Gaussian noise is that of the first."""
    parts = []
    for folder in folders:
        if (folder / f"{name}.csv").exists():
            table = pd.read_csv(folder / f"{name}.csv", dtype={"flags": str}).fillna({"flags": ""})
            parts.append(table[(table.noise == "gaussian") == (folder == folders[0])])
    return pd.concat(parts, ignore_index=True)


def bench(folders: tuple[Path, ...] = FOLDERS) -> str:
    """Return cost and tolerances of every method against plain training, and how far it moved the
    weights, a table for each architecture, the most tolerant of Gaussian noise first. A noise that
    took none halfway to chance has no column."""
    ends, ranks = read("methods", folders), read("ranking", folders)
    moved = trainings(load_all(folders[0] / "runs")[0])["size"]
    ends = ends[ends.baseline == CLEAN]
    fell = ends[(ends.endpoint == TOLERANCE) & is_known(ends)]
    out = []
    for name, mine in ends.groupby("architecture", sort=False):
        noises = list(fell[fell.architecture == name].noise.unique())
        sized = in_size(folders[-1]) if BY_RANGE in noises else {}
        places = ranks[(ranks.architecture == name) & (ranks.noise == "gaussian")]
        places = places.set_index("regime").sort_values("tolerance", ascending=False)
        heads = ["cost, points", *(f"tolerance, {n}" for n in noises)]
        heads += [f"{BY_RANGE}, in size"] * bool(sized) + ["front", "rank", "‖ε‖/‖W‖"]
        out += ["", f"| {name} | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
        by_row = mine.set_index(["regime", "noise", "endpoint"])
        for regime, place in places.iterrows():
            if regime == CLEAN:
                cells = ["0", *["× 1"] * (len(noises) + bool(sized))]
            else:
                cost = by_row.loc[(regime, "gaussian", "cost")]
                rows = [by_row.loc[(regime, noise, "tolerance")] for noise in noises]
                cells = [say(cost), *(say(row, "× ") for row in rows)]
                cells += [sized.get((name, regime), "–")] * bool(sized)
            low, high = place.rank_low, place.rank_high
            rank = f"{low}" if low == high else f"{low}–{high}"
            told = "" if place.behind or regime == places.index[0] else " ≈"
            front = f"{'● ' * place.on_front}{place.front:.0%}"
            cells += [front, rank + told, say_size(moved[name, regime])]
            out.append(f"| {regime} | {' | '.join(cells)} |")
    return "\n".join(out[1:])


def say(row: pd.Series, sign: str = "") -> str:
    """Return a value with its interval and word."""
    said, mark = number(row, sign), f" {FLAGGED}" if row["flags"] else ""
    return said if said == "–" else f"{said} {row.verdict}{mark}"


def number(row: pd.Series, sign: str = "") -> str:
    """Return a value with its interval; – where no fall was seen that far."""
    if not is_known(row):
        return "–"
    digits = ratio_digits(row) if sign else 2  # a cost bears its word out with two
    return f"{sign}{row.value_low:.2f} [{row.low:.{digits}f}, {row.high:.{digits}f}]"


def is_known(ends: pd.DataFrame) -> pd.Series:
    """Return where a value is known, and not only bounds of it."""
    return ends.value_low == ends.value_high


def in_size(folder: Path) -> dict[tuple[str, str], str]:
    """Return, by architecture and method, how many times the size of `BY_RANGE` that plain training
    stands until halfway to chance the method stands."""
    sizes = over_draws(results.read(folder).families[BY_RANGE])
    parts = sizes.astype({"architecture": str, "regime": str}).groupby(RUN)
    return ratios({run: find_halfway(part, CHANCE) for run, part in parts})


def ratios(found: dict[tuple[str, str, int], float]) -> dict[tuple[str, str], str]:
    """Return a number of each run over that of plain training, paired by seed: the geometric mean
    with a t-interval; those of an architecture hold together (Bonferroni)."""
    logs = np.log(pd.Series(found).rename_axis(RUN))
    said = {}
    for name, mine in logs.groupby("architecture"):
        table = mine.droplevel("architecture").unstack("regime")  # (seeds, methods)
        against = table.drop(columns=CLEAN).sub(table[CLEAN], axis=0).dropna(axis=1)
        for regime, log in against.items():
            half = half_width(log, level=1 - (1 - LEVEL) / len(against.columns))
            ends = np.exp(log.mean() + half * np.array([0, -1, 1]))
            said[name, regime] = "× {:.2f} [{:.2f}, {:.2f}]".format(*ends)
    return said


def points_below(rows: pd.DataFrame, architecture: str, regime: str) -> pd.Series:
    """Return by how many points a method is below injection, by α, from 0 up to where that is not
    told any more (95%, t, paired by seed, each α by itself)."""
    rows = draw_means(rows[rows.architecture == architecture]).astype({"regime": str})
    table = 100 * rows.set_index(["alpha", "seed", "regime"]).accuracy.unstack()
    gaps = (table[INJECTION] - table[regime]).dropna().groupby("alpha")
    told = gaps.mean() - gaps.agg(half_width) > 0
    return gaps.mean()[told.cummin()]


def methods() -> str:
    """Return the answer of the bench under Gaussian noise, in three sentences."""
    keys = ["architecture", "baseline", "regime", "endpoint"]
    ends, longer, stronger = (
        table[table.noise == "gaussian"].set_index(keys).sort_index()
        for table in (read("methods"), read("methods", (LONGER,)), read("methods", (STRONGER,)))
    )
    ranks = read("ranking").query("noise == 'gaussian'").sort_values("tolerance", ascending=False)
    places = {name: mine.regime.tolist() for name, mine in ranks.groupby("architecture")}
    mlp = ranks[ranks.architecture == "mlp"]
    first, rivals = mlp.iloc[0], (~mlp.behind).sum() - 1
    apart = f" ({rivals} not clearly below it)" if rivals else ""
    better = [ends.loc[("mlp", b)].xs(TOLERANCE, level=1).verdict == "better" for b in PLAIN]
    both = (better[0] & better[1].reindex(better[0].index, fill_value=False)).sum()

    def buys(name: str, regime: str, table: pd.DataFrame = ends) -> str:
        tolerance, cost = (table.loc[(name, CLEAN, regime, end)] for end in (TOLERANCE, COST))
        return f"{number(tolerance, '× ')} at {number(cost)}"

    def leads(name: str) -> str:
        best = places[name][0]
        which = "" if best == first.regime else f" `{best}`"
        return f"({len(places[name]) - 1} methods){which} {buys(name, best)}"

    lead, vit = buys("mlp", first.regime).replace(" at ", " at a cost of "), places["vit"][0]
    low = points_below(results.read(LONGER).rows, "vit", vit).index[-1]
    return (
        f"Of {len(mlp) - 1} methods {better[0].sum()} stand more Gaussian noise than plain "
        f"training, {both} of them more than plain injection (MLP, {first.seeds} seeds). "
        f"Tuned on the MLP, `{first.regime}` stands most{apart}: {lead} points; on the CNN "
        f"{leads('cnn')}; on the undertrained ViT {leads('vit')}, with twice the epochs "
        f"{buys('vit', vit, longer)} (injection, more accurate up to α = {low:g}, "
        f"{buys('vit', INJECTION, longer)}). On the MLP injection twice as strong, tried "
        f"afterwards, {buys('mlp', TWICE, stronger)}."
    )
