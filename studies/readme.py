"""Write the numbers of README and `docs/` anew, from committed files: `python -m studies.readme`.

They stand between marks such as `<!-- table -->` and `<!-- /table -->`; nothing else is touched.
"""

from machine.process import steady_output  # first: it checks Python's version

import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from config import REESTIMATED
from machine import words
from models import DEFAULT_ARCHITECTURES

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "results" / "reference"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SHOWN = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Strengths in the table of accuracies."""
WHOLE = ("plain, 4 epochs", "ours, 4 epochs")
"""Like with like, in `benchmarks/results.json`."""
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
        lines.append(f"| {which} | {interval(cost)} | {interval(tolerance, '× ')} | {words} |")
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


def quick() -> str:
    """Return how the quick start ends, as it was printed."""
    log = (REFERENCE / "quick.txt").read_text()
    start = log.index("\nmlp noisy: cost") + 1
    return f"```text\n{log[start:].strip()}\n```"


def minutes() -> str:
    """Return the time of the commands that made the reference: each stands in the log between two
    lines of `date`, with its architecture."""
    spent: dict[str, float] = {}
    name, began = "", datetime.min
    for line in (REFERENCE / "log.txt").read_text().splitlines():
        if line.startswith("part: "):
            name = line.removeprefix("part: ")
        elif re.fullmatch(r"\w{3} \w{3} +\d+ [\d:]+ UTC \d{4}", line):
            now = datetime.strptime(line, "%a %b %d %H:%M:%S UTC %Y")
            if name:
                spent[name] = spent.get(name, 0) + (now - began).total_seconds() / 60
            name, began = "", now
    named = [f"{spent[name]:.0f} ({name})" for name in DEFAULT_ARCHITECTURES if name in spent]
    return f"{', '.join(named)} minutes on two cores"


def speed() -> str:
    """Return what `benchmarks/run.py` has found, as a table."""
    body = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    lines = ["| | plain | ours | ours / plain |", "|---|---:|---:|---:|"]
    for row in body["rows"]:
        plain, ours = (f"{row[f'{side}_images_per_s']:,.0f}" for side in ("plain", "ours"))
        spread = f"{row['ratio']:.1f} ({row['ratio_min']:.1f} to {row['ratio_max']:.1f})"
        lines.append(f"| {row['architecture']}, {row['work']} | {plain} | {ours} | {spread} |")
    plain, ours = (body["whole_minutes"][" ".join(DEFAULT_ARCHITECTURES)][k] for k in WHOLE)
    lines.append(
        f"| 24 runs of four epochs, minutes | {plain:.0f} | {ours:.0f} | {plain / ours:.1f} |"
    )
    return "\n".join(lines)


def peers() -> str:
    """Return what `benchmarks/peers.py` has found, as a table."""
    body = json.loads((ROOT / "benchmarks" / "peers.json").read_text())
    lines = ["| | aihwkit's converters | ours, s | aihwkit, s | aihwkit / ours |"]
    lines.append("|---|---|---:|---:|---:|")
    for row in body["rows"]:
        spread = f"{row['ratio']:.1f} ({row['ratio_min']:.1f} to {row['ratio_max']:.1f})"
        times = f"{row['ours']:.2f} | {row['aihwkit']:.2f}"
        lines.append(f"| {row['network']} | {row['converters']} | {times} | {spread} |")
    return "\n".join(lines)


def cost() -> str:
    """Return what a large plan costs."""
    body = json.loads((ROOT / "benchmarks" / "scale.json").read_text())
    ours = {name: s for name, s in body["spent"].items() if name != "stub runs"}
    hours, tasks = body["real_seconds"] / 3600, body["tasks"]
    return (
        f"{body['runs']:,} runs like the 24 of the reference would take {hours:.0f} core-hours: "
        f"{hours / tasks:.1f} h on {tasks} cores. Planning, recording, checkpoints, processes and "
        f"reporting add {sum(ours.values()) / body['real_seconds']:.1%} to that "
        "(`python benchmarks/scale.py --real results`, with training exchanged for a stub of 10 "
        "ms; [its output](../benchmarks/scale.json))."
    )


PARTS: dict[str, Callable[[], str]] = {
    "answer": answer,
    "table": table,
    "strengths": strengths,
    "batchnorm": batchnorm,
    "flatness": flatness,
    "gains": gains,
    "quick": quick,
    "minutes": minutes,
    "speed": speed,
    "peers": peers,
    "cost": cost,
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
