"""The second stage of draws: found when the first is whole, kept in the plan, said in words."""

from collections.abc import Iterable
from dataclasses import replace

from analysis.stages import find_open, find_stages, waiting
from config import Run
from machine.checks import number_of
from runner.overview import Shelf, states_of
from store.folders import Folders
from store.plan import Plan
from store.plan_file import know, load_plan
from store.stages import united_stages


def settle(plan: Plan, folders: Folders) -> Plan:
    """Return a plan with what is known of its second stage in its results folder.

    Where the first stage of all that the folder's plan asks for of an architecture is there, the
    second is found and written into that plan; what is in it stays.

    Args:
        plan: what a command asks for; the folder's plan holds it.
        folders: where the records are.

    Raises:
        store.files.Damaged, OSError: if the folder's plan cannot be read or written.
    """
    whole = load_plan(folders.results)
    if whole.recipe != plan.recipe:  # another command has asked for another recipe meanwhile
        return plan
    known = whole.stages
    if any(part.sweep.staged for part in whole.parts):
        found = find_stages(whole, Shelf(folders).__getitem__)
        known = united_stages(known, found)
        if found:
            know(folders.results, replace(plan, stages=known))
    return replace(plan, stages=known)


def left(plan: Plan, runs: Iterable[Run], folders: Folders) -> list[Run]:
    """Return which of some runs, all of whose first stage was to be made by now, lack draws of the
    second as far as it is known, and print it."""
    if not (plan.sweep.staged and plan.stages):
        return []
    todo = [run for run, state in states_of(runs, plan, folders).items() if state != "complete"]
    if todo:
        said = describe_second(plan, {run.architecture for run in todo})
        print("\n".join(["", *said, f"{number_of(len(todo), 'run')} to measure on"]), flush=True)
    return todo


def describe_second(plan: Plan, names: Iterable[str]) -> list[str]:
    """Return in words how many draws the second stage of some architectures has."""
    lines = []
    for stage in plan.stages:
        if plan.sweep.staged and stage.architecture in names:
            noise = dict(stage.settings).get("noise", "α")
            more = [f"{n} at {noise} = {a:g}" for a, n in stage.draws if n > plan.sweep.first_draws]
            lines.append(f"{stage.architecture}: {', '.join(more) or 'no more'}")
    return [f"Second stage of draws, in all: {'; '.join(lines)}"] if lines else []


def say_open(plan: Plan, folders: Folders) -> list[str]:
    """Return in words which second stages cannot be found yet, and why; [] where all are."""
    if not plan.sweep.staged:
        return []
    whole, shelf = load_plan(folders.results), Shelf(folders)
    lines = []
    for name in find_open(whole):
        runs: list[Run] = [run for run in whole.runs if run.architecture == name]
        left = len(waiting(whole, runs, shelf.__getitem__))
        lines.append(f"{name} ({number_of(left, 'run')} of {len(runs)} to wait for)")
    if not lines:
        return []
    return [
        "The second stage of draws is found when one results folder holds the first of all runs of "
        f"an architecture, and waits: {', '.join(lines)}. Once they are there (--merge), the same "
        "command goes on"
    ]
