"""What the bench of training methods found, for README and `docs/`: from its committed tables."""

from pathlib import Path

import pandas as pd

from reporting.side_by_side import say_size, trainings
from reporting.transfer import best_table
from store.records import load_all
from studies.bench import PLAIN
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
CLEAN = PLAIN[0]
TWICE = "noisy:noise=2"


def tuned() -> str:
    """Return what was tried for each method and what was chosen, as a table."""
    found = pd.read_csv(BENCH / "tuning" / "tuning.csv")
    areas: dict[str, dict[int, float]] = {}
    for record in load_all(BENCH / "tuning" / "runs")[0]:
        who = record["identity"]
        rows = record["measurements"][0]["rows"]
        areas.setdefault(who["regime"], {})[who["seed"]] = 100 * area(rows)
    plain = pd.Series(areas[CLEAN])
    heads = ("regime", "parameter", "tried, **chosen**", "area", "− clean", "accuracy, %")
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
            table = pd.read_csv(folder / f"{name}.csv")
            parts.append(table[(table.noise == "gaussian") == (folder == folders[0])])
    return pd.concat(parts, ignore_index=True)


def bench(folders: tuple[Path, ...] = FOLDERS) -> str:
    """Return cost and tolerances of every method against plain training, and how far it moved the
    weights, a table for each architecture, the most tolerant of Gaussian noise first."""
    ends, ranks = read("methods", folders), read("ranking", folders)
    moved = trainings(load_all(folders[0] / "runs")[0])["size"]
    ends = ends[ends.baseline == CLEAN]
    noises = list(ends.noise.unique())
    out = []
    for name, mine in ends.groupby("architecture", sort=False):
        places = ranks[(ranks.architecture == name) & (ranks.noise == "gaussian")]
        places = places.set_index("regime").sort_values("tolerance", ascending=False)
        heads = ["cost, points", *(f"tolerance, {n}" for n in noises), "front", "rank", "‖ε‖/‖W‖"]
        out += ["", f"| {name} | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
        by_row = mine.set_index(["regime", "noise", "endpoint"])
        for regime, place in places.iterrows():
            if regime == CLEAN:
                cells = ["0", *["× 1"] * len(noises)]
            else:
                cost = by_row.loc[(regime, "gaussian", "cost")]
                rows = [by_row.loc[(regime, noise, "tolerance")] for noise in noises]
                cells = [say(cost), *(say(row, "× ") for row in rows)]
            low, high = place.rank_low, place.rank_high
            rank = f"{low}" if low == high else f"{low}–{high}"
            told = "" if place.behind or regime == places.index[0] else " ≈"
            method = f"**{regime}**" if place.on_front else regime
            cells += [f"{place.front:.0%}", rank + told, say_size(moved[name, regime])]
            out.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(out[1:])


def stronger() -> str:
    """Return the table of injection at twice the strength."""
    return bench((STRONGER,))


def say(row: pd.Series, sign: str = "") -> str:
    """Return a value with its interval and word."""
    said = number(row, sign)
    return said if said == "–" else f"{said} {row.verdict}"


def number(row: pd.Series, sign: str = "") -> str:
    """Return a value with its interval; – where no fall was seen that far."""
    if row.value_low != row.value_high:
        return "–"
    return f"{sign}{row.value_low:.2f} [{row.low:.2f}, {row.high:.2f}]"


def methods() -> str:
    """Return the answer of the bench for the MLP under Gaussian noise, in three sentences."""
    ends, ranks = (table[table.noise == "gaussian"] for table in (read("methods"), read("ranking")))
    ends = (
        ends[ends.architecture == "mlp"].set_index(["baseline", "endpoint", "regime"]).sort_index()
    )
    ranks = ranks[ranks.architecture == "mlp"].sort_values("tolerance", ascending=False)
    better = [ends.loc[(b, "tolerance")].verdict == "better" for b in PLAIN]
    both = (better[0] & better[1].reindex(better[0].index, fill_value=False)).sum()
    first = ranks.iloc[0]
    cost, tolerance = (ends.loc[(CLEAN, end, first.regime)] for end in ("cost", "tolerance"))
    rivals = (~ranks.behind).sum() - 1
    apart = f" ({rivals} not clearly below it)" if rivals else ""
    more = read("methods", (STRONGER,)).set_index(["baseline", "regime", "endpoint"])
    twice = [more.loc[(CLEAN, TWICE, end)] for end in ("tolerance", "cost")]
    return (
        f"Of {len(ranks) - 1} methods {better[0].sum()} stand more Gaussian noise than plain "
        f"training, {both} of them also more than plain injection (MLP, {first.seeds} seeds). "
        f"`{first.regime}` stands most{apart}, {number(tolerance, '× ')}, for {number(cost)} "
        f"points; injection twice as strong {number(twice[0], '× ')}, for {number(twice[1])}."
    )
