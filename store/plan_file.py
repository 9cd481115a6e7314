"""The plan's file, kept beside the records so that a bare report knows its target."""

import json
import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from config import REGIMES, Recipe, Run, Sweep, written
from store import looks as fixing
from store import shared, stages
from store.changes import AXES, BROKEN, kind_of, united
from store.files import Damaged, write_whole
from store.knobs import typed
from store.own import Task
from store.plan import Plan
from store.shared import View


def plan_path(results_dir: Path) -> Path:
    """Return where the plan of a results folder is kept."""
    return results_dir / "plan.json"


def parts_folder(results_dir: Path) -> Path:
    """Return where changes of the plan are while they are being made."""
    return results_dir / "plan.parts"


def save_plan(results_dir: Path, plan: Plan) -> None:
    """Write the plan whole, whatever was asked for before."""
    write_whole(plan_path(results_dir), dumps(plan))


def ask(results_dir: Path, plan: Plan) -> None:
    """Add to what is asked for: see `Plan.joined`. Whatever others ask for meanwhile is kept.

    Raises:
        Damaged: if the plan that is there cannot be read.
        OSError: if it cannot be written.
    """
    _change(results_dir, "ask", {"plan": as_data(plan)})


def know(results_dir: Path, plan: Plan) -> None:
    """Add what is known of second stages to the plan, and no run to it; raise as `ask` does."""
    _change(results_dir, "know", {"plan": as_data(plan)})


def forget(results_dir: Path, asked: Plan, named: Collection[str] = ()) -> None:
    """Take something out of the plan: see `changes.without`; raise as `ask` does."""
    _change(results_dir, "forget", {"plan": as_data(asked), "named": sorted(named)})


def _change(results_dir: Path, kind: str, body: dict) -> None:
    def fold(view: View) -> bytes:
        plan, there = united(view, from_data)
        return view.whole if plan is there else dumps(plan)

    path, folder = plan_path(results_dir), parts_folder(results_dir)
    try:
        shared.add(path, folder, kind, json.dumps(body).encode(), fold, absorb=False)
        shared.clear(folder)
    except BROKEN as error:
        raise damage(path, error) from None


def as_data(plan: Plan) -> dict:
    """Return a plan as plain JSON data."""
    axes = {name: getattr(plan, name) for name in AXES}
    knobs = {"recipe": written(plan.recipe), "sweep": written(plan.sweep)}
    found = {"stages": [stages.as_data(stage) for stage in plan.stages]} if plan.stages else {}
    found |= {"looks": fixing.as_data(plan.looks)} if plan.looks else {}
    return {**axes, **knobs, "earlier": tuple(as_data(part) for part in plan.earlier), **found}


def dumps(plan: Plan) -> bytes:
    """Return the bytes of a plan's file."""
    return (json.dumps(as_data(plan), indent=1) + "\n").encode()


def load_plan(results_dir: Path) -> Plan:
    """Read the plan of a results folder, with what is being asked for at this moment.

    Raises:
        FileNotFoundError: if the folder has none.
        Damaged: if it cannot be read or is not a plan of this version.
    """
    path = plan_path(results_dir)
    try:
        plan, _ = united(shared.look(path, parts_folder(results_dir)), from_data)
    except BROKEN as error:
        raise damage(path, error) from None
    if plan is None:
        raise FileNotFoundError(2, "No such file", str(path))
    return plan


def damage(path: Path, error: Exception) -> Exception:
    """Return what to raise for an error of `BROKEN`."""
    if isinstance(error, OSError) and path.is_file():
        return error
    deep = isinstance(error, RecursionError)
    reason = "nested too deep" if deep else " ".join(str(error).split())[:200]
    return Damaged(f"{path}: not a plan of this version ({reason})")


def from_data(body: dict) -> Plan:
    """Return the plan that JSON data describes, or raise one of `BROKEN`."""
    earlier = tuple(plain(part) for part in body.pop("earlier", ()))
    found = stages.united_stages((), map(stages.from_data, body.pop("stages", ())))
    seen = fixing.from_data(body.pop("looks", {}))
    plan = replace(plain(body), earlier=earlier, stages=found, looks=seen)
    for part in plan.parts:
        if part.kind is Run and (unknown := [n for n in part.regimes if n not in REGIMES]):
            raise ValueError(
                f"regime {min(unknown)!r} is not registered here; import what registers it first"
            )
        if not (part.architectures and part.regimes and part.seeds and part.sweep.alphas):
            raise ValueError("a part of it asks for nothing")
        if not all(0 < s < math.inf for found in part.sweep.families.values() for s in found):
            raise ValueError(f"noise is {part.sweep.noise!r}")
        if kind_of(part) != kind_of(plan):
            raise ValueError("its parts differ in recipe or evaluation settings")
    return plan


def plain(body: dict) -> Plan:
    """Return the plan, without earlier parts, that JSON data describes, or raise likewise."""
    kind = Task if "weights" in body["recipe"] else Recipe
    if body["sweep"].get("draws", 1) is None:
        raise ValueError("draws is None")
    recipe, sweep = typed(kind, body["recipe"]), typed(Sweep, body["sweep"])
    return typed(Plan, {**body, "recipe": recipe, "sweep": sweep, "earlier": ()})
