"""Records → tables, figures, report. Rebuilds everything from a results folder, without torch.

    python report.py --results-dir results
    python report.py --results-dir results --merge from_the_cluster another_copy

Only records of the plan's recipe and evaluation settings enter; whatever is missing is named. A
merge takes what agrees and names what contradicts ours, of which `--prefer` says what to keep.

Exit status: 0 the report is written (also of incomplete results), 1 it cannot be written, or not
all that was to be merged agrees, 2 wrong input, such as a folder without a plan (nothing was
written).
"""

from machine.process import steady_output  # first: it checks Python's version

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import tyro

from analysis.needs import check_families
from machine import words
from reporting import pages, summary, terminal
from reporting.columns import named
from reporting.results import find_missing, read
from reporting.text import align
from store import pictures
from store.files import Damaged, Foreign, write_whole
from store.merge import Merged, NotResults, merge_results
from store.own import OwnRun
from store.plan_file import as_data

RESULTS = Path("results")
SHOWN = 24
"""Lines of a list that the terminal shows; report.md has all of them."""


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
    """The printed tables, with what is missing, and the answer last, with its curves."""


def rebuild(results_dir: Path, everything: bool = True) -> Report:
    """Write every table and figure of a results folder anew, from its plan and records alone.

    The same plan and records give byte-identical files.

    Args:
        results_dir: the folder that holds plan.json and runs/.
        everything: also the figures and the report; else only the CSV and JSON tables.

    Raises:
        FileNotFoundError: if the folder has no plan.
        Damaged: if its plan is not of this version.
        OSError: if a file cannot be written.
    """
    results = read(results_dir)
    missing = find_missing(results.plan, results.records)
    makers = pages.SECTIONS if everything else (summary.section,)
    sections = pages.make_sections(results, makers)
    csv = {name: named(table) for part in sections.values() for name, table in part.csv.items()}
    runs, sweep = csv["summary.csv"], csv["sweep.csv"]
    body = {
        "config": as_data(results.plan),
        "provenance": {record["run_id"]: record["provenance"] for record in results.records},
        "summary": plain(runs),
        "sweep": plain(sweep),
    }
    outputs = {name: as_csv(table) for name, table in csv.items()}
    outputs["results.json"] = (json.dumps(body, indent=1, allow_nan=False) + "\n").encode()
    if everything:
        outputs |= pages.make_figures(sections)
        outputs |= pages.make_pages(results, sections, missing)
    if results.answered and results.answered["weights"]:
        outputs["images.json"] = pictures.dumps(results.answered)
    for name, data in outputs.items():
        write_whole(results_dir / name, data)
    parts = [align(table) for table in sections["summary"].tables]
    for title, messages in (("Missing", missing), ("Left out", results.left_out)):
        if messages:
            said = [f"  {message}" for message in messages[:SHOWN]]
            more = len(messages) - len(said)
            said += [f"  and {more} more, in report.md"] if more else []
            parts.append("\n".join([f"{title} ({len(messages)}):", *said]))
    if "endpoints" in sections:
        curves = [] if results.plan.kind is OwnRun else terminal.sparks(results)
        lines = [line for said in sections["endpoints"].sentences.values() for line in said]
        parts += ["\n".join(lines)] if lines else []
        parts += ["\n".join(["Accuracy from chance ▁ to 1 █:", *curves])] if curves else []
    return Report(runs, sweep, missing, results.left_out, "\n\n".join(parts))


def as_csv(table: pd.DataFrame) -> bytes:
    """Return a table as the bytes of a CSV file; numbers with all their digits, none if NaN."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def plain(table: pd.DataFrame) -> list[dict]:
    """Return a table as JSON data, None for what is not there."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


@dataclass(frozen=True)
class Options:
    """Rebuild the tables, figures and report of a results folder, and print the tables."""

    folder: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[DIR]")] = None
    """Folder that holds plan.json and runs/; the same as --results-dir."""
    results_dir: Path | None = None
    """Folder that holds plan.json and runs/; None = results."""
    merge: tuple[Path, ...] = ()
    """Other results folders, whose records are taken in first."""
    prefer: Literal["mine", "theirs"] | None = None
    """Which to keep where a merged record contradicts ours; none = ours, named, and status 1."""


def main() -> int:
    """Run the program; return its exit status."""
    options = words.read(Options)
    folder, merged = options.folder or options.results_dir or RESULTS, Merged()
    if options.results_dir not in (None, folder):
        other = f"{options.results_dir} and {options.folder}"
        return fail(2, f"--results-dir: takes one folder, and two are given: {other}")
    if options.prefer and not options.merge:
        return fail(2, "--prefer: says what --merge keeps, and takes a --merge beside it")
    try:
        if options.merge:
            merged = merge_results(folder, options.merge, options.prefer or "", check_families)
        report = rebuild(folder)
    except FileNotFoundError:
        return fail(2, f"--results-dir: {folder} has no plan.json (run_experiments.py writes it)")
    except (NotResults, Damaged, Foreign) as error:
        return fail(2, str(error))
    except OSError as error:
        return fail(1, f"cannot write: {error}")
    except KeyboardInterrupt:
        return fail(130, "interrupted; the same command writes the files that are left")
    print(report.text)
    print(f"\nresults are in {folder}/ (open report.html)")
    if merged.problems:
        print(f"\nNot merged ({len(merged.problems)}):", *merged.problems, sep="\n  ")
    for line in merged.conflicts:
        fail(1, f"--merge: {line}; ours stays")
    if merged.conflicts:
        print(
            "report.py: what agrees is merged; --prefer mine|theirs decides the rest",
            file=sys.stderr,
        )
    return 1 if merged.conflicts else 0


def fail(status: int, message: str) -> int:
    """Say in one line what is wrong, and return the exit status."""
    print(f"report.py: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    steady_output()
    sys.exit(main())
