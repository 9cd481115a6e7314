"""What was timed, for README and `docs/`: from committed logs and the output of `benchmarks/`."""

import json
import re
from datetime import datetime
from pathlib import Path

from models import DEFAULT_ARCHITECTURES

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "results" / "reference"
WHOLE = ("plain, 4 epochs", "ours, 4 epochs")
"""Like with like, in `benchmarks/results.json`."""


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
