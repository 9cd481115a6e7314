"""A plan that is executed fixes its seeds: see `store.looks`."""

from dataclasses import replace

from store import records
from store.changes import kind_of
from store.folders import Folders
from store.looks import fixed
from store.plan import Plan
from store.plan_file import load_plan


def fix_seeds(plan: Plan, folders: Folders) -> Plan:
    """Return a plan that is to be executed with the seeds that are fixed now, and those that were.

    Raises:
        store.files.Damaged, OSError: if the folder's plan cannot be read.
    """
    try:
        earlier = load_plan(folders.results)
    except FileNotFoundError:
        earlier = None
    runs = earlier.runs if earlier and kind_of(earlier) == kind_of(plan) else []
    groups = dict(earlier.looks) if runs else {}
    for name in plan.architectures:
        mine = [run for run in runs if run.architecture == name]
        looked = any(records.find(folders.record(run)) for run in mine)
        before = {run.seed for run in mine}
        groups[name] = fixed(groups.get(name, ()), before, plan.seeds, looked)
    return replace(plan, looks=tuple(sorted(groups.items())))
