"""Results of several machines in one folder: records taken over, checked and never changed."""

from collections.abc import Iterable
from pathlib import Path

from store import records
from store.files import Damaged, set_aside
from store.plan import Plan, load_plan, save_plan
from store.records import Record


class NotResults(ValueError):
    """A folder that was given as one of results, and is none; the message names the option."""


def merge_results(results_dir: Path, others: Iterable[Path]) -> list[str]:
    """Take the records of other results folders into one, and their plans where recipes agree.

    All are read and compared first. Merging again changes nothing.

    Returns:
        A message for each file of another folder that is not a good record; it was not taken.

    Raises:
        NotResults: if another folder holds no records.
        Conflict, Damaged, Foreign: if two records of one run disagree, or a plan or a file in the
            way is not ours. In all of these cases nothing was written.
    """
    taken: dict[str, Record] = {}
    damaged: list[Path] = []
    problems: list[str] = []
    before = plan = plan_there(results_dir)
    for other in others:
        if not (other / "runs").is_dir():
            raise NotResults(f"--merge: {other} is not a results folder (it has no runs/)")
        found, bad = records.load_all(other / "runs")
        problems += bad
        for theirs in found:
            run_id = theirs["run_id"]
            if run_id not in taken:
                path = results_dir / "runs" / f"{run_id}.json"
                try:
                    taken[run_id] = records.load(path)
                except FileNotFoundError:
                    taken[run_id] = theirs
                except Damaged:
                    damaged.append(path)
                    taken[run_id] = theirs
            taken[run_id] = records.merge(taken[run_id], theirs)
        theirs = plan_there(other)
        if plan is None or theirs is None:
            plan = plan or theirs
        elif (plan.recipe, plan.sweep.settings) == (theirs.recipe, theirs.sweep.settings):
            plan = theirs.joined(plan)
    if plan is None:
        raise NotResults(f"--results-dir: {results_dir} has no plan.json, nor has what is merged")
    for path in damaged:
        set_aside(path)
    for run_id, record in taken.items():
        path = results_dir / "runs" / f"{run_id}.json"
        if not path.exists() or path.read_bytes() != records.dumps(record).encode():
            records.save(path, record)
    if plan != before:
        save_plan(results_dir, plan)
    return problems


def plan_there(results_dir: Path) -> Plan | None:
    """Return the plan of a results folder, None where it has none."""
    try:
        return load_plan(results_dir)
    except FileNotFoundError:
        return None
