"""Write the numbers of README and `docs/` anew, from committed files: `python -m studies.readme`.

They stand between marks such as `<!-- table -->` and `<!-- /table -->`; nothing else is touched.
"""

from machine.process import steady_output  # first: it checks Python's version

import json
import re
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

import noises
from analysis.intervals import half_width
from analysis.verdicts import t_factor
from config import EPOCHS, REESTIMATED
from machine import words
from models import DEFAULT_ARCHITECTURES
from reporting.words import FLAGGED
from store.records import load_all
from studies import bench_words, benched, pilot, timed
from studies.timed import REFERENCE, ROOT

PROTECTION = ROOT / "results" / "protection"
"""The study of docs/noise.md: which noise does training with Gaussian noise protect against?"""
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SHOWN = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Strengths in the table of accuracies."""
COST = {
    "worse": "costs accuracy",
    "better": "gains accuracy",
    "equivalent": "costs less than a point",
    "unresolved": "no cost shown",
}
TOLERANCE = {
    "worse": "stands less noise",
    "better": "stands more noise",
    "equivalent": "stands as much noise",
    "unresolved": "tolerance not known",
}


def answer() -> str:
    """Return the two endpoints of each architecture, as a table."""
    found = pd.read_csv(REFERENCE / "endpoints.csv", keep_default_na=False)
    lines = ["| trained with noise | cost, points | tolerance | in words |", "|---|---|---|---|"]
    for (name, regime), rows in found.groupby(["architecture", "regime"], sort=False):
        by_name = {row.endpoint: row for row in rows.itertuples()}
        cost, tolerance = by_name["cost"], by_name["tolerance"]
        words = f"{COST[cost.verdict]}, {TOLERANCE[tolerance.verdict]}"
        which = name if regime == "noisy" else f"{name} {regime}"
        marks = [f" {FLAGGED}" if row.flags else "" for row in (cost, tolerance)]
        cells = f"{interval(cost)}{marks[0]} | {interval(tolerance, '× ')}{marks[1]}"
        lines.append(f"| {which} | {cells} | {words} |")
    return "\n".join(lines)


def interval(row, sign: str = "") -> str:
    """Return a value with its interval; – where nothing is known."""
    low, high = float(row.low), float(row.high)
    if row.value_low == 0 and np.isinf(row.value_high):
        return "–"
    bound = "at least " if np.isinf(row.value_high) else ""
    upper = "–" if np.isinf(high) else f"{high:.2f}"
    return f"{bound}{sign}{row.value_low:.2f} [{low:.2f}, {upper}]"


def table() -> str:
    """Return accuracies in percent, draws averaged inside a seed."""
    sweep = pd.read_csv(REFERENCE / "sweep.csv")
    if "batchnorm" in sweep:
        sweep = sweep[sweep.batchnorm != REESTIMATED]
    cell = ["architecture", "regime", "alpha_test", "seed"]
    draws = sweep[sweep.alpha_test > 0].groupby(cell).draw.nunique()
    fewest, most = draws.min(), draws.max()
    lines = [
        f"Mean accuracy in percent over {sweep.seed.nunique()} seeds and "
        f"{fewest if fewest == most else f'{fewest} to {most}'} noise draws each, trained clean → "
        "trained with noise (–: beyond the break, not measured):",
        "",
    ]
    seeds = sweep.groupby(cell).accuracy.mean().groupby(cell[:3])
    means = seeds.mean()[seeds.count() == sweep.seed.nunique()] * 100
    lines += header()
    for name in DEFAULT_ARCHITECTURES:
        both = [[means.get((name, regime, a)) for regime in ("clean", "noisy")] for a in SHOWN]
        cells = ["–" if None in pair else "{:.1f} → {:.1f}".format(*pair) for pair in both]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def header() -> list[str]:
    """Return the first lines of a table of the strengths shown."""
    return ["| α = | " + " | ".join(f"{a:g}" for a in SHOWN) + " |", "|---|" + "---|" * len(SHOWN)]


def batchnorm() -> str:
    """Return accuracies in percent under both BatchNorm policies, and what part of the fall is that
    of stale statistics."""
    found = pd.read_csv(REFERENCE / "batchnorm.csv")
    lines = header()
    for (name, regime), rows in found.groupby(["architecture", "regime"]):
        per_alpha = rows.groupby("alpha_test")
        for column in ("frozen", "reestimated", "share"):
            means = per_alpha[column].mean()[per_alpha[column].count() == rows.seed.nunique()]
            show = "{:.2f}".format if column == "share" else "{:.1%}".format
            cells = [show(means[a]).rstrip("%") if a in means else "–" for a in SHOWN]
            lines.append(f"| {name} {regime}, {column} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def strengths() -> str:
    """Return what the committed report says by strength, a line for each architecture."""
    text = (REFERENCE / "report.md").read_text()
    start = tuple(f"- {name}: Trained " for name in DEFAULT_ARCHITECTURES)
    return "\n".join(line for line in text.splitlines() if line.startswith(start))


def flatness() -> str:
    """Return what the committed report says of curvature, a line for each architecture."""
    section = (REFERENCE / "report.md").read_text().split("## Does flatness explain it?")[1]
    said = [line for line in section.splitlines() if line.startswith(tuple(DEFAULT_ARCHITECTURES))]
    return "\n".join(f"- **{line.replace(': ', '**: ', 1)}" for line in said)


def gains() -> str:
    """Return what twice the epochs gain in the pilot, as a table."""
    found = pd.read_csv(REFERENCE / "pilot" / "epochs.csv").dropna(subset="gain")
    lines = ["| | epochs | trained | gain | seeds |", "|---|---:|---|---|---:|"]
    for row in found.itertuples():
        half = "" if np.isnan(row.half_width) else f" ± {row.half_width:.2f}"
        epochs, gain = f"{row.epochs} → {2 * row.epochs}", f"{row.gain:+.2f}{half}"
        lines.append(f"| {row.architecture} | {epochs} | {row.regime} | {gain} | {row.pairs} |")
    return "\n".join(lines)


def apart() -> str:
    """Return by how much more than clean training noisy training gains by twice the epochs."""
    records, _ = load_all(REFERENCE / "pilot" / "epochs" / "runs")
    found = {name: pilot.gain_apart(records, name, EPOCHS[name]) for name in DEFAULT_ARCHITECTURES}
    return ", ".join(f"{gain:+.2f} ± {half:.2f} ({name})" for name, (gain, half) in found.items())


def held() -> str:
    """Return how often the intervals of both numbers held together in experiments drawn anew."""
    body = json.loads((ROOT / "benchmarks" / "of_reference.json").read_text())
    together = [100 * line["endpoints_together"] for line in body["endpoints"]]
    return f"{min(together):.0f} to {max(together):.0f}%"


def new_images() -> str:
    """Return the cost with its interval for new test images; both numbers of an architecture hold
    together."""
    found = pd.read_csv(REFERENCE / "images.csv")
    found = found[found.alpha_test == 0].set_index("architecture").loc[list(DEFAULT_ARCHITECTURES)]
    widen = t_factor(found.seeds, 2) / t_factor(found.seeds)
    rows = zip(found.index, -100 * found.effect, 100 * found.half_new * widen)
    return ", ".join(f"{cost:.2f} ± {half:.2f} ({name})" for name, cost, half in rows)


def point() -> str:
    """Return how many times the noise trained noisy stands until a drop of one point."""
    found = pd.read_csv(REFERENCE / "curves.csv")
    found = found[found.metric == "alpha_point"]
    said = []
    for name in DEFAULT_ARCHITECTURES:
        mine = found[found.architecture == name]
        table = mine.pivot(index="seed", columns="regime", values="low")
        logs = np.log(table.noisy / table.clean)
        ends = np.exp(logs.mean() + half_width(logs) * np.array([0, -1, 1]))
        said.append("× {:.2f} [{:.2f}, {:.2f}]".format(*ends) + f" ({name})")
    return ", ".join(said)


def protects() -> str:
    """Return under how many kinds of noise training with Gaussian noise is better, and worse: of
    those that take the clean model about halfway to chance."""
    found = pd.read_csv(PROTECTION / "protection.csv")
    found = found[(found.batchnorm != REESTIMATED) & found.lost.between(0.25, 0.75)]
    said = []
    for word in ("better", "worse"):
        is_so = (found.verdict == word).groupby(found.architecture, sort=False)
        said.append(is_so.agg(["sum", "size"]).itertuples())
    better = ", ".join(f"{row.sum} of {row.size} ({row.Index})" for row in said[0])
    return f"better under {better}; worse under {', '.join(str(row.sum) for row in said[1])}"


def protection() -> str:
    """Return what it keeps under each noise, in points, as a table."""
    found = pd.read_csv(PROTECTION / "protection.csv")
    found["model"] = found.architecture + found.batchnorm.map(
        {REESTIMATED: " re-estimated"}
    ).fillna("")
    seeds = found.groupby("model", sort=False).seeds.first()
    lines = [
        "| noise | " + " | ".join(f"{name}, {n} seeds" for name, n in seeds.items()) + " |",
        "|---|" + "---|" * len(seeds),
    ]
    for noise, rows in found.groupby("noise", sort=False):
        cells = [noise]
        for name in seeds.index:
            row = rows[rows.model == name]
            cells.append(say_effect(noise, row.iloc[0]) if len(row) else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def say_effect(noise: str, row: pd.Series) -> str:
    """Return strength, the baseline's accuracy there, effect with its interval in points, and
    verdict."""
    effect, low, high = (100 * row[name] for name in ("effect", "effect_low", "effect_high"))
    at = noises.find(noise).say(row.alpha_test)
    said = f"{effect:+.1f} [{low:+.1f}, {high:+.1f}] {row.verdict}"
    return f"{at} ({row.accuracy:.0%}): {said}"


PARTS: dict[str, Callable[[], str]] = {
    "answer": answer,
    "table": table,
    "strengths": strengths,
    "batchnorm": batchnorm,
    "flatness": flatness,
    "gains": gains,
    "apart": apart,
    "held": held,
    "new_images": new_images,
    "point": point,
    "quick": timed.quick,
    "minutes": timed.minutes,
    "protects": protects,
    "protection": protection,
    "methods": benched.methods,
    "tuned": benched.tuned,
    "bench": benched.bench,
    "ninety": bench_words.to_ninety,
    "beyond": bench_words.beyond,
    "less": bench_words.less,
    "start_low": bench_words.start_low,
    "odd": bench_words.odd_seed,
    "stronger": partial(benched.bench, (benched.STRONGER,)),
    "longer": partial(benched.bench, (benched.LONGER,)),
    "power": partial(benched.bench, (benched.POWER,)),
    "same_power": bench_words.same_power,
    "transfer": benched.transfer,
    "speed": timed.speed,
    "peers": timed.peers,
    "cost": timed.cost,
}
"""What stands between the marks of a name."""


def filled(page: str) -> str:
    """Return a page with the parts between its marks as they are now."""

    def fill(found: re.Match) -> str:
        edge = "\n" if "\n" in found[2] else ""
        return f"<!-- {found[1]} -->{edge}{PARTS[found[1]]()}{edge}<!-- /{found[1]} -->"

    return re.sub(r"<!-- (\w+) -->(.*?)<!-- /\1 -->", fill, page, flags=re.DOTALL)


def main() -> int:
    """Write the numbers of README and docs/ anew, from committed files."""
    for path in PAGES:
        before = path.read_text()
        if (after := filled(before)) != before:
            path.write_text(after)
            print(f"{path.relative_to(ROOT)}: written")
    return 0


if __name__ == "__main__":
    steady_output()
    words.run(main)
