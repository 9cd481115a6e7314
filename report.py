"""Records → tables, figures, report. Rebuilds everything from a results folder, without torch.

    python report.py --results-dir results

Only records of the plan's recipe and evaluation settings enter; whatever is missing is named.
"""

import json
import sys
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import pandas as pd
import tyro

import figures
import plan as plans
import records
from config import REGIMES
from files import Damaged, write_whole
from plan import Plan

REFERENCE_ALPHA = 0.1
"""The noise strength α that the summary quotes, matched exactly."""
RUN = ["architecture", "regime", "seed"]
"""Columns that name a run in every table."""


@dataclass(frozen=True)
class Results:
    """What a results folder holds of its plan."""

    plan: Plan
    records: list[records.Record]
    """Records of the plan's recipe, in table order: architecture, regime, seed."""
    rows: pd.DataFrame
    """A row per measurement: `RUN` and `records.COLUMNS`."""
    left_out: list[str]
    """A message for each record file that is of another recipe, damaged or foreign."""


@dataclass(frozen=True)
class Report:
    """What a rebuild found and wrote."""

    summary: pd.DataFrame
    """A row per run: `architecture,regime,seed,acc_0,acc_0.1,drop_0.1`; NaN where not measured."""
    sweep: pd.DataFrame
    """A row per run, α, draw (and sign): accuracy as a fraction, mean loss in nats."""
    missing: list[str]
    """A message for each run of the plan without a record, or with too few measurements."""
    left_out: list[str]
    """A message for each record file that did not enter."""
    text: str
    """The printed tables, with what is missing."""


def read(results_dir: Path) -> Results:
    """Read the plan of a results folder and the records that belong to it.

    Raises:
        FileNotFoundError: if the folder has no plan.
        Damaged: if its plan is not of this version.
    """
    plan = plans.load(results_dir)
    folder = results_dir / "runs"
    found, problems = records.load_all(folder)
    chosen, others = plan.select(found)
    order = {name: i for i, name in enumerate((*plan.architectures, *REGIMES))}

    def place(record: records.Record) -> tuple:
        who = record["identity"]
        known = order.get(who["architecture"], len(order))  # architectures outside the plan: last
        return known, who["architecture"], order[who["regime"]], who["seed"]

    chosen = sorted(chosen, key=place)
    rows = [
        (*(record["identity"][name] for name in RUN), *row)
        for record in chosen
        for row in records.rows(record, plan.sweep.settings)
    ]
    frame = pd.DataFrame(rows, columns=[*RUN, *records.COLUMNS]).astype({"loss": float})
    left_out = [m.removeprefix(f"{folder}/") for m in (*others, *problems)]
    return Results(plan, chosen, frame, left_out)


def make_sweep(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as fractions: accuracy = correct / total, loss = mean over the images.

    A `sign` column is appended only where some −ε was measured.
    """
    table = rows[RUN].assign(
        alpha_test=rows.alpha,
        draw=rows.draw,
        accuracy=rows.correct / rows.total,
        loss=rows.loss / rows.total,
    )
    return table.assign(sign=rows.sign) if (rows.sign < 0).any() else table


def make_summary(results: Results) -> pd.DataFrame:
    """Return a row per record: accuracy at 0 and at `REFERENCE_ALPHA` over its +ε draws, and the drop.

    Fractions are divided once, from the counts: no averages of averages, no rounding in between.
    """
    plus = results.rows[results.rows.sign > 0]
    counts = plus.groupby([*RUN, "alpha"])[["correct", "total"]].sum().to_dict("index")
    table = []
    for record in results.records:
        run = tuple(record["identity"][name] for name in RUN)
        start, end = (
            Fraction(int(count["correct"]), int(count["total"])) if count else None
            for count in (counts.get((*run, alpha)) for alpha in (0.0, REFERENCE_ALPHA))
        )
        drop = None if start is None or end is None else start - end
        table.append((*run, *(None if v is None else float(v) for v in (start, end, drop))))
    measured = ["acc_0", "acc_0.1", "drop_0.1"]
    return pd.DataFrame(table, columns=[*RUN, *measured]).astype(dict.fromkeys(measured, float))


def find_missing(results: Results) -> list[str]:
    """Return a message for each run of the plan that lacks its record or measurements."""
    have = {record["run_id"]: record for record in results.records}
    messages = []
    for run in results.plan.runs:
        lacking = records.missing(have.get(run.run_id), results.plan.sweep)
        if run.run_id not in have:
            messages.append(f"{run.run_id}: no record")
        elif lacking:
            alphas = ", ".join(f"{a:g}" for a in sorted({a for a, _, _ in lacking}))
            asked = len(results.plan.sweep.points)
            messages.append(
                f"{run.run_id}: {len(lacking)} of {asked} measurements missing (at α = {alphas})"
            )
    return messages


def align(header: list[str], body: list[list[str]]) -> str:
    """Return a table as plain text: words to the left, numbers to the right."""
    left = {"Architecture", "Regime"}
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if name in left else cell.rjust(width)
            for name, cell, width in zip(header, row, widths, strict=True)
        ).rstrip()
        for row in [header, *body]
    )
    return "\n".join(lines)


def number(value: float, digits: int = 4) -> str:
    """Return a number with fixed digits (never "-0.0000"), and a dash where there is none."""
    return "–" if pd.isna(value) else f"{value:z.{digits}f}"


def make_text(summary: pd.DataFrame, missing: list[str], left_out: list[str]) -> str:
    """Return what is printed: a row per run, the mean drop per regime, and what is missing."""
    values = ["acc_0", "acc_0.1", "drop_0.1"]
    body = [
        [row.architecture, row.regime, str(row.seed), *(number(v) for v in row[values])]
        for _, row in summary.iterrows()
    ]
    parts = [align(["Architecture", "Regime", "Seed", "Acc(0)", "Acc(0.1)", "Drop"], body)]
    groups = summary.groupby(RUN[:2], sort=False)["drop_0.1"].agg(["mean", "count"])
    means = [[*name, number(row["mean"]), f"{row['count']:.0f}"] for name, row in groups.iterrows()]
    table = align(["Architecture", "Regime", "Mean drop", "Seeds"], means)
    parts.append(f"Mean drop at α = {REFERENCE_ALPHA:g}\n{table}")
    for title, messages in (("Missing", missing), ("Left out", left_out)):
        if messages:
            parts.append("\n".join([f"{title} ({len(messages)}):", *(f"  {m}" for m in messages)]))
    return "\n\n".join(parts) + "\n"


def plain(table: pd.DataFrame) -> list[dict]:
    """Return a table as JSON data, None for what is not there."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def rebuild(results_dir: Path) -> Report:
    """Write every table and figure of a results folder anew, from its plan and records alone.

    The same plan and records give byte-identical files.

    Raises:
        FileNotFoundError: if the folder has no plan.
        Damaged: if its plan is not of this version.
        OSError: if a file cannot be written.
    """
    results = read(results_dir)
    sweep, summary, missing = make_sweep(results.rows), make_summary(results), find_missing(results)
    body = {
        "config": asdict(results.plan),
        "provenance": {record["run_id"]: record["provenance"] for record in results.records},
        "summary": plain(summary),
        "sweep": plain(sweep),
    }
    outputs = {
        "summary.csv": summary.to_csv(index=False, lineterminator="\n").encode(),
        "sweep.csv": sweep.to_csv(index=False, lineterminator="\n").encode(),
        "results.json": (json.dumps(body, indent=1, allow_nan=False) + "\n").encode(),
    }
    figure = figures.robustness(results.rows, results.plan.architectures)
    for kind in ("png", "pdf"):
        outputs[f"robustness.{kind}"] = figures.encode(figure, kind)
    for name, data in outputs.items():
        write_whole(results_dir / name, data)
    text = make_text(summary, missing, results.left_out)
    return Report(summary, sweep, missing, results.left_out, text)


def main(results_dir: Path = Path("results")) -> None:
    """Rebuild the tables and figures of a results folder, and print the tables.

    Args:
        results_dir: folder that holds plan.json and runs/.
    """
    try:
        report = rebuild(results_dir)
    except FileNotFoundError:
        fail(f"--results-dir {results_dir}: no plan.json there (run_experiments.py writes it)")
    except Damaged as error:
        fail(f"--results-dir {error}")
    print(report.text, end="")


def fail(message: str) -> None:
    """Say in one line what is wrong with the input, and end with status 2."""
    print(f"report.py: {message}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    tyro.cli(main)
