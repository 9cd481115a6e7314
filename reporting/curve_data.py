"""The numbers that a page's curves can show, as JSON data. No torch."""

import json
from collections.abc import Iterable

import pandas as pd
from markupsafe import Markup

import noises
from analysis.intervals import RUN, draw_means
from reporting.curve_table import curve_table, each_sweep
from reporting.results import Results
from reporting.scale import Scale, find_scale

APART = 0.13
"""Labels of a panel, which may be small, stand at least this far from each other."""
DIGITS = 5
"""Of accuracies: a hundredth of an image in a test set of thousands."""


def regimes_of(results: Results, name: str) -> list[str]:
    """Return the measured regimes of an architecture, in table order."""
    have = {*results.rows[results.rows.architecture == name].regime}
    return [r for r in results.rows.regime.cat.categories if r in have]


def numbers(results: Results) -> dict:
    """Return what the panels can show, as JSON data: by panel, and noise and policy."""
    runs = {tuple(r["identity"][key] for key in RUN): r["run_id"] for r in results.records}
    shown: dict[int, dict] = {n: {} for n in range(len(results.measured))}
    policies: dict[str, list[str]] = {}
    means = curve_table(results)
    for family, policy, rows in each_sweep(results):
        policies.setdefault(family, []).append(policy)
        for n, name in enumerate(results.measured):
            mine = rows[rows.architecture == name]
            if mine.empty:
                continue
            table = means[
                (means.noise == family) & (means.batchnorm == policy) & (means.architecture == name)
            ]
            shown[n][f"{family}|{policy}"] = one_sweep(
                family, mine, table, regimes_of(results, name), runs
            )
    return {
        "names": results.measured,
        "policies": policies,
        "strengths": strengths_of(shown.values()),
        "meanings": {name: noises.find(name).meaning for name in policies},
        "regimes": [regimes_of(results, name) for name in results.measured],
        "panels": [shown[n] for n in sorted(shown)],
    }


def strengths_of(panels: Iterable[dict]) -> dict[str, list[str]]:
    """Return the strengths of each noise that some panel has, by their place on the axis."""
    found: dict[str, dict[str, float]] = {}
    for panel in panels:
        for key, sweep in panel.items():
            known = found.setdefault(key.partition("|")[0], {})
            for curve in sweep["curves"]:
                for strength, value in zip(curve["strength"], curve.pop("value")):
                    known[strength] = value
    return {family: sorted(known, key=known.get) for family, known in found.items()}


def one_sweep(
    family: str,
    rows: pd.DataFrame,
    means: pd.DataFrame,
    regimes: list[str],
    runs: dict[tuple, str],
) -> dict:
    """Return the numbers of one panel under one noise and policy."""
    scale, say = find_scale(rows), noises.find(family).say
    by_seed = draw_means(rows)
    curves = []
    for regime in regimes:
        mine = means[means.regime == regime].sort_values("alpha")
        whole = mine[mine.seeds == mine.seeds.max()]
        dots = by_seed[by_seed.regime == regime]
        curves.append(
            {
                "x": places(scale, whole.alpha),
                "strength": [say(a) if a else "0" for a in whole.alpha],
                "value": [float(a) for a in whole.alpha],
                "mean": rounded(whole.accuracy),
                "low": rounded(whole.low),
                "high": rounded(whole.high),
                "n": [int(n) for n in whole.seeds],
                "draws": [
                    f"{a}" if a == b else f"{a} to {b}"
                    for a, b in zip(whole.draws_min, whole.draws_max)
                ],
                "seeds": {
                    "x": places(scale, dots.alpha),
                    "y": rounded(dots.accuracy),
                    "strength": [say(a) if a else "0" for a in dots.alpha],
                    "seed": [int(s) for s in dots.seed],
                    "run": [runs[key] for key in dots[RUN].itertuples(index=False, name=None)],
                },
            }
        )
    ticks = [
        (round(float(scale.forward(a)), 4), text) for a, text in scale.ticks(rows.alpha, say, APART)
    ]
    knee = round(float(scale.forward(scale.knee)), 4) if scale.knee else None
    return {"chance": float(rows.chance.max()), "ticks": ticks, "knee": knee, "curves": curves}


def places(scale: Scale, strengths: pd.Series) -> list[float]:
    """Return places on the axis."""
    return [round(float(p), 4) for p in scale.forward(strengths.where(strengths > 0, scale.origin))]


def rounded(values: pd.Series) -> list[float | None]:
    """Return numbers as JSON has them, None where there is none."""
    return [None if pd.isna(v) else round(float(v), DIGITS) for v in values]


def as_json(value) -> Markup:
    """Return data as JSON that can stand in a script element."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for sign, code in (("<", r"\u003c"), (">", r"\u003e"), ("&", r"\u0026")):
        text = text.replace(sign, code)
    return Markup(text)
