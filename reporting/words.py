"""Verdicts by strength in sentences. No torch."""

import itertools

import pandas as pd

from analysis.intervals import baseline_of
from analysis.verdicts import (
    BETTER,
    CUT,
    EQUIVALENT,
    MARGIN,
    TOGETHER,
    UNRESOLVED,
    WORSE,
    t_factor,
)
from machine.checks import number_of
from reporting.text import NONE, digits_of, span, with_half

FLAGGED = "†"
"""Marks a verdict on data that are flagged."""


def say_verdicts(effects: pd.DataFrame, architecture: str) -> list[str]:
    """Return, for each regime of an architecture, the verdicts by strength in a sentence or two."""
    mine = effects[effects.architecture == architecture]
    return [say_verdict(part) for _, part in mine.groupby("regime", observed=True)]


def say_verdict(effects: pd.DataFrame) -> str:
    """Return the verdicts of one architecture and regime against the baseline."""
    regime, n = effects.regime.iloc[0], span(effects.seeds.min(), effects.seeds.max())
    noisy, start = effects[effects.alpha > 0], effects[effects.alpha == 0]
    subject = f"Trained {regime} rather than {baseline_of(effects)}"
    if effects.seeds.max() < 2:
        return f"{subject}: one paired seed gives no interval, and so no verdict."
    if noisy.empty:
        return f"{subject}: nothing was measured at α > 0."
    parts = []
    for word in (BETTER, WORSE):
        found = noisy[noisy.verdict == word]
        if len(found):
            most = found.loc[found.effect.abs().idxmax()]
            where = f"most at {most.alpha:g}: " if len(found) > 1 else ""
            parts.append(f"{word} at {say_alphas(found, noisy)} ({where}{points_of(most)} points)")
    same = noisy[noisy.verdict == EQUIVALENT]
    if len(same):
        parts.append(f"{EQUIVALENT} at {say_alphas(same, noisy)} (within one point)")
    unresolved = noisy[noisy.verdict == UNRESOLVED]
    if len(unresolved):
        parts.append(f"unresolved at {say_alphas(unresolved, noisy)} ({say_seen(unresolved)})")
    text = f"{subject}, accuracy is {'; '.join(parts)}."
    if len(start):
        first = start.iloc[0]
        text += f" Without noise (α = 0): {points_of(first)} points, {first.verdict}."
    least = number_of(noisy.draws.min(), "draw")
    text += f" n = {number_of(n, 'paired seed')}, at least {least} each."
    flagged = noisy[noisy["flags"] != ""] if "flags" in noisy else noisy[:0]
    return f"{text} Flagged ({FLAGGED}): {say_alphas(flagged, noisy)}." if len(flagged) else text


def say_seen(unresolved: pd.DataFrame) -> str:
    """Return how large a difference unresolved comparisons leave possible."""
    ends = [f"{100 * half:.2f}" for half in (unresolved.half.min(), unresolved.half.max())]
    seen = f"± {' to '.join(dict.fromkeys(ends))} points"
    if unresolved.half.isna().all():
        return "one seed only"
    return f"one seed only, or {seen}" if unresolved.half.isna().any() else seen


def say_alphas(some: pd.DataFrame, every: pd.DataFrame) -> str:
    """Return the α of some effects in words: a range where three or more are neighbours."""
    chosen, grid = set(some.alpha), sorted(every.alpha)
    if len(some) == len(every) > 1:
        return f"every α from {grid[0]:g} to {grid[-1]:g}"
    parts = []
    for is_in, group in itertools.groupby(grid, chosen.__contains__):
        neighbours = [f"{alpha:g}" for alpha in group]
        if len(neighbours) > 2:
            neighbours = [f"{neighbours[0]} to {neighbours[-1]}"]
        parts += neighbours if is_in else []
    return "α = " + ", ".join(parts)


def points_of(effect: dict | pd.Series) -> str:
    """Return an effect in points with its half-width, or with both ends where one is cut."""
    if not len(effect) or effect["kind"] != CUT:
        digits = 2
        if len(effect) and pd.notna(effect["effect"]):
            points = (100 * float(effect[name]) for name in ("effect", "half"))
            digits = digits_of(*points, effect["verdict"], 100 * MARGIN)
        return with_half(effect, "effect", 100, f"+.{digits}f")
    ends = (f"{100 * effect[name]:+z.2f}" for name in ("low", "high"))
    return f"{100 * effect['effect']:+z.2f} [{', '.join(ends)}]".replace("+0.00", "0")


def verdict(effect: dict) -> str:
    """Return the verdict word of an effect; an unresolved one with what could not be seen."""
    if not effect:
        return NONE
    word, mark = effect["verdict"], f" {FLAGGED}" if effect.get("flags") else ""
    if word == UNRESOLVED:
        half = f"± {100 * effect['half']:.2f}" if effect["seeds"] > 1 else "one seed"
        word = f"{word} ({half})"
    return f"{word}{mark}"


def say_factors(effects: pd.DataFrame) -> list[str]:
    """Return how wide simultaneous intervals are, for each n of seeds and size of family."""
    noisy = effects[(effects.kind == TOGETHER) & (effects.seeds > 1)]
    cases = noisy[["seeds", "strengths", "factor"]].drop_duplicates()
    said = [
        f"With {case.seeds} seeds, an interval simultaneous over {case.strengths} "
        f"{'strength' if case.strengths == 1 else 'strengths'} is "
        f"± {case.factor:.1f} standard errors of the mean; one by itself would be "
        f"± {float(t_factor(case.seeds)):.1f}."
        for case in cases.sort_values(["seeds", "factor"]).itertuples()
    ]
    return list(dict.fromkeys(said))


def say_left_out(rows: pd.DataFrame, effects: pd.DataFrame) -> list[str]:
    """Return the strengths that tables and verdicts leave out, if there are any."""
    parts = []
    for name, mine in effects.groupby("architecture", observed=True):
        measured = rows[(rows.architecture == name) & (rows.sign > 0)].alpha
        if lone := sorted({*measured} - {*mine.alpha}):
            parts.append(f"{name} {', '.join(f'{alpha:g}' for alpha in lone)}")
    if not parts:
        return []
    return [
        "Strengths that not every paired seed was measured at stand in the curves and in "
        f"sweep.csv, not in tables and verdicts: {'; '.join(parts)}."
    ]
