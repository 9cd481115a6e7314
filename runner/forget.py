"""`--forget`: what the words of a command name is taken out of the plan of its results folder."""

from dataclasses import fields, replace
from pathlib import Path

import tyro

from config import Recipe, Sweep
from machine.checks import UsageError, number_of
from runner.options import Options, make_plan, read
from store.changes import AXES, kind_of, without
from store.plan import Plan
from store.plan_file import forget, load_plan


def forget_asked(results: Path, asked: Options, arguments: list[str] | None = None) -> str:
    """Take what is asked for out of the plan; return in words what is left.

    Args:
        results: the results folder.
        asked, arguments: the command line, read and as it stands (None: that of this process).

    Raises:
        UsageError: if there is no plan, or nothing or everything of it would go.
        store.files.Damaged, OSError: if it cannot be read or written.
    """
    try:
        plan = load_plan(results)
    except FileNotFoundError:
        raise UsageError(f"--forget: {results} has no plan") from None
    wanted, named = of_plan(plan, make_plan(asked), find_named(arguments))
    left = without(plan, wanted, named)
    if left is plan:
        raise UsageError("--forget: the plan asks for nothing of this")
    if left is None:
        raise UsageError("--forget: nothing would be left; to begin anew, delete plan.json")
    forget(results, wanted, named)
    runs = f"{number_of(len(left.runs), 'run')}, of {len(plan.runs)} before"
    return f"The plan in {results} asks for {runs}; every record stays."


def find_named(arguments: list[str] | None) -> set[str]:
    """Return the axes and knobs that a command line names, even where it names the default.

    It is read anew with other defaults: what is the same each time was named.
    """
    first, named = read(arguments), None
    for switched in (True, False):  # what is on or off may follow from another knob
        other = tyro.cli(Options, args=arguments, default=unusual(switched))
        pairs = [(first, other, AXES)]
        for part, kind in (("recipe", Recipe), ("sweep", Sweep)):
            names = [f.name for f in fields(kind)]
            pairs.append((getattr(first, part), getattr(other, part), names))
        same = {n for a, b, names in pairs for n in names if getattr(a, n) == getattr(b, n)}
        named = same if named is None else named & same
    return named


def unusual(switched: bool) -> Options:
    """Return options none of which has a value that could be asked for, or its default; what is on
    or off by default is not, where it is `switched`."""
    knobs = {}
    for part, kind in (("recipe", Recipe), ("sweep", Sweep)):
        usual = {f.name: getattr(kind(), f.name) for f in fields(kind)}
        kept = {n for n, v in usual.items() if isinstance(v, bool) and not switched}
        knobs[part] = kind(**{n: v if n in kept else other_than(v) for n, v in usual.items()})
    return Options(architectures=("",), regimes=("",), seeds=(-1,), **knobs)


def other_than(value):
    """Return a value of the same type that nobody asks for."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return (-1.0,) if value and isinstance(value[0], (int, float)) else ("",)
    if value is None:
        return -1
    return f"{value}?" if isinstance(value, str) else type(value)(-1)


def of_plan(plan: Plan, asked: Plan, words: set[str]) -> tuple[Plan, set[str]]:
    """Return which runs of a plan some words name, all where they name none, and what of them.

    Returns:
        The runs, and the fields of its sweep that are meant; none = the runs themselves.

    Raises:
        UsageError: if no word says what is to go, or the plan is of another recipe.
    """
    axes = {
        name: getattr(asked, name)
        if name in words
        else tuple(dict.fromkeys(value for part in plan.parts for value in getattr(part, name)))
        for name in AXES
    }

    def named_of(kind: type, part: str) -> dict:
        found = getattr(asked, part)
        return {f.name: getattr(found, f.name) for f in fields(kind) if f.name in words}

    recipe, sweep = named_of(Recipe, "recipe"), named_of(Sweep, "sweep")
    knobs = {"recipe": replace(plan.recipe, **recipe), "sweep": replace(plan.sweep, **sweep)}
    wanted = Plan(**axes, **knobs)
    if kind_of(wanted) != kind_of(plan):
        raise UsageError("--forget: the plan is of another recipe, or measured on other images")
    measured = sweep.keys() - plan.sweep.settings.keys()
    if not measured and not words & {*AXES}:
        example = "--seeds 7, resnet18 or --draws 1000000"
        raise UsageError(
            f"--forget: takes beside it what is to go from the plan, such as {example}"
        )
    return wanted, measured
