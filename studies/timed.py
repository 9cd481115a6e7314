"""What was timed, for README and `docs/`: from committed logs and the output of `benchmarks/`."""

import json
import re
from datetime import datetime
from pathlib import Path

from models import DEFAULT_ARCHITECTURES

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "results" / "reference"
CORES, RUNS = 2, 48
"""Of the reference."""
WHOLE = ("plain, 4 epochs", "ours, 4 epochs")
"""Like with like, in `benchmarks/results.json`."""


def quick() -> str:
    """Return how the quick start ends, as it was printed."""
    log = (REFERENCE / "quick.txt").read_text()
    start = log.index("\nmlp noisy: cost") + 1
    return f"```text\n{log[start:].strip()}\n```"


def spent() -> dict[str, float]:
    """Return the minutes of the commands that made the reference, by architecture: each stands in
    the log between two lines of `date`."""
    found: dict[str, float] = {}
    name, began = "", datetime.min
    for line in (REFERENCE / "log.txt").read_text().splitlines():
        if line.startswith("part: "):
            name = line.removeprefix("part: ")
        elif re.fullmatch(r"\w{3} \w{3} +\d+ [\d:]+ UTC \d{4}", line):
            now = datetime.strptime(line, "%a %b %d %H:%M:%S UTC %Y")
            if name:
                found[name] = found.get(name, 0) + (now - began).total_seconds() / 60
            name, began = "", now
    return found


def minutes() -> str:
    """Return the time of the commands that made the reference."""
    found = spent()
    named = [f"{found[name]:.0f} ({name})" for name in DEFAULT_ARCHITECTURES if name in found]
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
    today = body["runs"] / RUNS * CORES * sum(spent().values()) / 60
    return (
        f"{body['runs']:,} runs like the {RUNS} of the reference, with their pairs ±ε and second "
        f"stage of draws, would take {today:.0f} core-hours, {today / tasks:.1f} h on {tasks} "
        f"cores; like those of version 0.9.0 (four epochs, to α = 2) {hours:.0f}. Planning, "
        "recording, checkpoints, processes and reporting add "
        f"{sum(ours.values()) / body['real_seconds']:.1%} to the latter "
        "(`python benchmarks/scale.py --real results`, with training exchanged for a stub of 10 "
        "ms; [its output](../benchmarks/scale.json))."
    )
