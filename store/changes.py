"""What becomes of a plan that is asked for more, or told to forget something.

Both are kept as parts (see `shared`) while they go into the plan, in the order in which they were
begun: what was forgotten does not come back with a plan that was read before.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields, replace

from config import Sweep
from store.shared import View
from store.stages import united_stages

AXES = ("architectures", "regimes", "seeds")
BROKEN = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError),
)
"""What comes of reading something else than a plan."""


def united(view: View, read: Callable[[dict], object]) -> tuple:
    """Return the plan of a view with the changes that may not be in its file, and that file's plan.

    The two are one where nothing else is asked for. Of several recipes the last asked for counts.

    Args:
        view: of the plan's file.
        read: returns the plan that JSON data describes, or raises one of `BROKEN`.

    Returns:
        Two plans (`plan.Plan`); None where there is none.

    Raises:
        one of `BROKEN`: if the file is not a plan of this version.
    """
    there = None if view.whole is None else read(json.loads(view.whole))
    changes = []
    for part in view.parts:
        try:
            body = json.loads(part.data)
            changes.append((part.kind, read(body["plan"]), body.get("named", ())))
        except BROKEN:  # cut short by a power cut
            continue
    asked = [other for kind, other, _ in changes if kind == "ask"]
    if not asked and there is None:
        return None, None
    target = kind_of(asked[-1] if asked else there)
    plan = there if there and kind_of(there) == target else None
    for kind, other, named in changes:
        if kind_of(other) != target:
            continue
        if kind == "ask":
            plan = other.joined(plan) if plan else other
        elif plan and kind == "know":
            plan = replace(plan, stages=united_stages(other.stages, plan.stages))
        elif plan:
            plan = without(plan, other, named) or plan
    same = plan == there or (there is not None and said_by(plan) == said_by(there))
    return (there if same else plan), there


def kind_of(plan) -> tuple:
    """Return what two plans must share to be joined."""
    return plan.recipe, plan.sweep.settings


def said_by(plan) -> tuple:
    """Return what a plan says, however it is divided into parts."""
    return plan.asked, plan.stages, plan.looks


def without(plan, asked, named: Collection[str] = ()):
    """Return a plan (`plan.Plan`) without what another, a plain one, asks for.

    Args:
        plan: what to take something out of; of the same recipe and evaluation settings.
        asked: the runs of which something goes.
        named: fields of `asked.sweep` to take out of what is measured on these runs: listed
            strengths and noise families go, another value goes back to its default where it is
            the one asked for. None: the runs themselves go.

    Returns:
        The plan that is left: `plan` itself if it asks for nothing of this, None if nothing is.
    """
    left, changed = [], False
    for part in plan.parts:
        inside, rest = cut(part, asked)
        if inside is None:
            left.append(part)
            continue
        less = replace(inside, sweep=lessened(inside.sweep, asked.sweep, named)) if named else None
        if less == inside:
            left.append(part)
            continue
        changed = True
        left += [*rest, *([less] if less else [])]
    if not changed or not left:
        return plan if left else None
    first, *others = left
    for part in others:
        first = part.joined(first)
    return replace(first, stages=plan.stages, looks=plan.looks)


def cut(part, asked) -> tuple:
    """Return the runs of a plain plan that another names, too, and the others, as plain plans.

    Returns:
        A plan, or None if there are no such runs, and a list of at most three plans.
    """
    rest, inside = [], part
    for axis in AXES:
        here, named = getattr(inside, axis), {*getattr(asked, axis)}
        common = tuple(value for value in here if value in named)
        if not common:
            return None, [part]
        if kept := tuple(value for value in here if value not in named):
            rest.append(replace(inside, **{axis: kept}))
        inside = replace(inside, **{axis: common})
    return inside, rest


def lessened(sweep: Sweep, asked: Sweep, named: Collection[str]) -> Sweep:
    """Return a sweep without the named fields of another: see `without`."""
    usual = {f.name: f.default for f in fields(Sweep) if f.default is not MISSING}
    changes = {}
    for name in named:
        there, gone = getattr(sweep, name), getattr(asked, name)
        if name == "alphas":
            changes[name] = tuple(a for a in there if a not in gone or a == 0)
        elif name == "noise":
            families = asked.families
            changes[name] = tuple(w for w in there if w.partition(":")[0] not in families)
        elif there == gone:
            changes[name] = usual[name]
    return replace(sweep, **changes)
