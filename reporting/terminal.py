"""What a terminal shows: curves in characters; of own models also table and breaks. No torch."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

import noises
from analysis import intervals, over_draws
from reporting.endpoints import say_endpoints
from reporting.over_draws import say_models
from reporting.results import Results
from reporting.text import Table, align, span, with_half

MARKS = "ox+*#@%&"
"""Of the regimes, in table order."""
BLOCKS = "▁▂▃▄▅▆▇█"
"""From chance to 1."""
LINES = 10
"""Height of the curve."""
STEP = 6
"""Characters from one strength to the next."""


def show(results: Results) -> str:
    """Return the answer for a terminal."""
    if results.rows.empty:
        return "nothing is measured yet"
    what = results.plan.recipe.score or "accuracy"
    table, wide = means_table(results.rows, f"{what} by noise strength α")
    alphas = sorted({float(a) for means in wide.values() for a in means.index})
    parts = [align(table), *curve(wide, alphas, results.chance), "", *say_models(results)]
    for family, rows in results.families.items():
        table, _ = means_table(rows, f"{what} by strength of {family}", family)
        parts += ["", align(table)]
    ends = results.endpoints
    compared = [line for name in results.measured for line in say_endpoints(ends, name)]
    if compared:
        parts += ["", f"Against {intervals.baseline_of(results.rows)}:", *compared]
        parts += ["", say_meaning(what, span(ends.seeds.min(), ends.seeds.max()))]
    return "\n".join(parts)


def say_meaning(what: str, seeds: str) -> str:
    """Return what cost and tolerance are, of a score or accuracy, over so many paired seeds."""
    sure = "" if seeds == "1" else f" ± and [ ] are 95% over {seeds} paired seeds."
    return (
        f"Cost: what is lost without noise, in points (0.01 of {what}); below 0 it is a gain.\n"
        "Tolerance: how many times as much noise a regime stands, until its mean curve is halfway "
        f"to chance.{sure}"
    )


def means_table(
    rows: pd.DataFrame, title: str, family: str = "gaussian"
) -> tuple[Table, dict[str, pd.DataFrame]]:
    """Return accuracy by strength and regime as a table, and of each regime its means by α."""
    means, over = summarise(in_common(rows))
    regimes = [r for r in means.regime.cat.categories if (means.regime == r).any()]
    wide = {regime: means[means.regime == regime].set_index("alpha") for regime in regimes}
    show = noises.find(family).say
    body = [
        [show(a), *(with_half(row_of(wide[r], a), "mean") for r in regimes)]
        for a in sorted({float(a) for a in means.alpha})
    ]
    first = "α" if family == "gaussian" else "strength"
    return Table(f"{title}; ± 95% {over}", [first, *regimes], body), wide


def say_others(results: Results, mine: Collection[tuple[str, int]], folder: Path) -> str:
    """Return in a line which models of the tables are not of this command; nothing if all are.

    Args:
        results: what the tables are of.
        mine: regime and seed of each model of the command.
        folder: of the results.
    """
    runs = results.rows[["regime", "seed"]].drop_duplicates().itertuples(index=False)
    others = [f"{regime} (seed {seed})" for regime, seed in runs if (regime, seed) not in mine]
    if not others:
        return ""
    return (
        f"  not of this command, but of earlier ones: {', '.join(others)}; to leave them out, take "
        f"another --results-dir, or remove their files in {folder}/runs/ and repeat the command\n"
    )


def sparks(results: Results) -> list[str]:
    """Return a small curve for each architecture and regime: a block for each strength that all
    its runs have, as high as the mean accuracy is from chance to 1, between its first and last."""
    lines = []
    for name in results.measured:
        rows = in_common(results.rows[results.rows.architecture == name])
        if rows.empty or not (rows.alpha > 0).any():
            continue
        means, chance = intervals.mean_accuracy(rows), results.chance_of(name)
        for regime, mine in means.groupby("regime", observed=True):
            values = mine.sort_values("alpha")["mean"].tolist()
            blocks = "".join(block(value, chance) for value in values)
            ends = f"α = {mine.alpha.min():g} to {mine.alpha.max():g}"
            lines.append((f"{name} {regime}", f"{values[0]:.3f} {blocks} {values[-1]:.3f}", ends))
    width = max((len(line[0]) for line in lines), default=0)
    middle = max((len(line[1]) for line in lines), default=0)
    return [f"{who:{width}}  {what:{middle}}  {ends}" for who, what, ends in lines]


def block(value: float, chance: float) -> str:
    """Return the block that is as high as a value is from chance to 1."""
    share = (value - chance) / (1 - chance) if chance < 1 else 0.0
    return BLOCKS[min(max(round(share * (len(BLOCKS) - 1)), 0), len(BLOCKS) - 1)]


def in_common(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the strengths that every model has with more than its first draw: between
    them each looked for its own break."""
    runs = rows.groupby(intervals.RUN, observed=True).ngroups
    most = rows[rows.alpha > 0].draw.max()
    full = rows[(rows.draw == min(1, most)) | (rows.alpha == 0)]
    counts = full[full.sign > 0].groupby("alpha").size()
    return rows[rows.alpha.isin(counts.index[counts == runs])]


def summarise(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return mean accuracy by regime and strength, and what its intervals are over."""
    if rows.groupby("regime", observed=True).seed.nunique().max() > 1:
        return intervals.mean_accuracy(rows), "over seeds"
    return over_draws.accuracy(rows), "over draws: of these very models"


def row_of(table: pd.DataFrame, alpha: float) -> dict:
    """Return the row of a strength; empty where there is none."""
    return table.loc[alpha].to_dict() if alpha in table.index else {}


def curve(wide: dict[str, pd.DataFrame], alphas: list[float], chance: float) -> list[str]:
    """Return the mean curves, a column for each strength and a mark for each regime."""
    values = [v for table in wide.values() for v in table["mean"]]
    low, high = min([chance, *values]), max(values)
    if not high > low:
        return []
    grid = [[" "] * (STEP * len(alphas)) for _ in range(LINES + 1)]
    floor = LINES - round(LINES * (chance - low) / (high - low)) if chance <= high else LINES
    grid[floor] = ["·"] * (STEP * len(alphas))  # chance
    for mark, table in zip(MARKS * len(wide), wide.values(), strict=False):
        for n, alpha in enumerate(alphas):
            if alpha in table.index:
                line = LINES - round(LINES * (table.loc[alpha, "mean"] - low) / (high - low))
                column = STEP * n + STEP // 2
                column += grid[line][column] not in " ·"  # beside the one that is there
                grid[line][column] = mark
    edges = {0: f"{high:.3g}", LINES: f"{low:.3g}"}
    lines = [f"{edges.get(n, ''):>8} |{''.join(row).rstrip()}" for n, row in enumerate(grid)]
    axis = "".join(f"{a:g}".center(STEP) for a in alphas)
    names = "   ".join(f"{m} {r}" for m, r in zip(MARKS * len(wide), wide, strict=False))
    return ["", *lines, f"{'α =':>8}  {axis.rstrip()}", f"{'':>10}{names}   · chance"]
