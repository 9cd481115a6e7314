"""Results of several machines in one folder: what agrees is taken, what contradicts is named."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from store import images, pictures, records
from store.changes import kind_of
from store.files import Damaged, Foreign, set_aside
from store.plan import Plan
from store.plan_file import ask, load_plan
from store.records import Record, curvature_block, key, rows


class NotResults(ValueError):
    """A folder that was given as one of results, and is none; the message names the option."""


@dataclass(frozen=True)
class Merged:
    """What a merge did not take, in messages of one line."""

    problems: list[str] = field(default_factory=list)
    """Files of other folders that are no good records."""
    conflicts: list[str] = field(default_factory=list)
    """Records that contradict ours, or a file of ours in their way: of these ours stay."""


def merge_results(
    results_dir: Path,
    others: Iterable[Path],
    prefer: str = "",
    check: Callable[[Plan], None] = lambda plan: None,
) -> Merged:
    """Take the records of other results folders into one, and their plans where recipes agree.

    Runs may be going on in any of the folders. Merging again changes nothing.

    Args:
        results_dir, others: the folders.
        prefer: whose numbers stay where two records contradict each other: "mine" or "theirs";
            a record of other weights that is replaced is kept as `.json.replaced`. With "" ours
            stay, and the contradiction is one of the conflicts.
        check: raises Damaged for a plan that cannot be used here.

    Raises:
        NotResults: if another folder holds no records, or there is no plan.
        Damaged: if a plan is not of this version. In both cases nothing was written.
        OSError: if something cannot be read or written.
    """
    others, merged = list(others), Merged()
    plan = plan_there(results_dir)
    more = []  # to ask for; not with ours in it, of which something may be forgotten meanwhile
    for other in others:
        if not (other / "runs").is_dir():
            raise NotResults(f"--merge: {other} is not a results folder (it has no runs/)")
        theirs = plan_there(other)
        if theirs is None or (plan and kind_of(plan) != kind_of(theirs)):
            continue
        check(theirs)
        joined = theirs.joined(plan) if plan else theirs
        if joined != plan:
            more.append(theirs)
        plan = joined
    if plan is None:
        raise NotResults(f"--results-dir: {results_dir} has no plan.json, nor has what is merged")
    for other in others:
        found, bad = records.load_all(other / "runs")
        merged.problems.extend(bad)
        for theirs in found:
            path = results_dir / "runs" / f"{theirs['run_id']}.json"
            try:
                merged.conflicts.extend(take(path, theirs, prefer))
                images.take(path.parent, other / "runs", theirs)
            except (records.Conflict, Foreign) as error:
                merged.conflicts.append(str(error))
        pictures.take(results_dir, other)
    for theirs in more:
        ask(results_dir, theirs)
    return merged


def take(path: Path, theirs: Record, prefer: str = "") -> list[str]:
    """Take a record into the one at `path`; return in what they contradict each other, if it stays.

    Raises:
        records.Conflict: if another process has made a record of other weights meanwhile.
        Foreign: if the file there is not a record.
        OSError: if it cannot be written.
    """
    try:
        mine = records.load(path)
    except FileNotFoundError:
        mine = None
    except Damaged:
        set_aside(path)
        mine = None
    found = contradictions(mine, theirs) if mine else []
    if found and prefer == "theirs":
        records.put(path, theirs)
        return []
    if mine is None or mine["weights"] == theirs["weights"]:
        records.save(path, with_head(theirs, mine or theirs))
    if not found or prefer == "mine":
        return []
    more = f", and in {len(found) - 1} more" if len(found) > 1 else ""
    return [f"{theirs['run_id']}: two records of it differ {found[0]}{more}"]


def with_head(record: Record, other: Record) -> Record:
    """Return a record with the history and provenance of another."""
    return {**record, "history": other["history"], "provenance": other["provenance"]}


def contradictions(mine: Record, theirs: Record) -> list[str]:
    """Return where two records of one run hold other numbers, in words; of other weights only that.

    Where one of them holds nothing there is no contradiction.
    """
    for part in ("run_id", "identity", "weights"):
        if mine[part] != theirs[part]:
            values = (f"{record[part]:.12}" for record in (mine, theirs) if part != "identity")
            return [compared(f"in {part}", *values)]
    found = [compared(f"in {where}", *both) for where, *both in of_training(mine, theirs)]
    for block in theirs["measurements"]:
        ours = {key(row): row for row in rows(mine, block["settings"])}
        for row in block["rows"]:
            if ours.get(key(row), row) != row:
                alpha, draw, sign = key(row)
                where = f"at α = {alpha:g}, draw {draw}" + (", sign −1" if sign < 0 else "")
                found.append(compared(where, say_row(ours[key(row)]), say_row(row)))
    for block in theirs.get("curvature", []):
        if curvature_block(mine, block["settings"]) not in (None, block):
            found.append(f"in curvature (noise seed {block['settings'].get('noise_seed')})")
    return found


def of_training(record: Record, other: Record) -> Iterator[tuple[str, str, str]]:
    """Yield where two records of the same weights tell of another training or model, and what both
    hold, in words. The provenance may differ: it is told, not judged."""
    mine, theirs = record["history"], other["history"]
    if mine and theirs and mine != theirs:  # the same bits have the same losses
        pairs = enumerate(zip(mine, theirs), start=1)
        first = next(((n, *pair) for n, pair in pairs if pair[0] != pair[1]), None)
        if first is None:
            yield "history", f"{len(mine)} epochs", f"{len(theirs)} epochs"
        else:
            yield f"history, epoch {first[0]}", str(first[1]), str(first[2])
    for part in ("traits", "realised"):
        mine, theirs = record.get(part, {}), other.get(part, {})
        for name in sorted(mine.keys() & theirs.keys()):
            if mine[name] != theirs[name]:
                yield f"{part}, {name}", str(mine[name])[:60], str(theirs[name])[:60]


def compared(where: str, *values: str) -> str:
    """Return where two records differ and, where they can be said, what ours and theirs hold."""
    return f"{where} ({values[0]}; theirs {values[1]})" if values else where


def say_row(row: list) -> str:
    """Return what was measured at a point in words."""
    _, _, _, correct, total, loss, *_ = row
    return f"{correct} of {total} correct, loss {loss}"


def plan_there(results_dir: Path) -> Plan | None:
    """Return the plan of a results folder, None where it has none."""
    try:
        return load_plan(results_dir)
    except FileNotFoundError:
        return None
