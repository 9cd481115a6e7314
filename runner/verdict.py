"""What doing a run again says of it: the verdict of `verify`, from two records. No torch.

With the same arithmetic all must be the same to the last bit. With another, training goes other
ways after a while, and in the end another way than any: then the first epoch's loss must agree
within `LOSS`, or be one that the other seeds let expect (rounding alone moved that of an MLP by
0.6% in 469 steps), and so must the mean accuracy at every strength.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from analysis.prediction import counting_variance, prediction_interval
from machine import arithmetic
from runner.segments import segments
from store import records
from store.merge import of_training
from store.records import Record

LOSS = 0.002
"""How far the first epoch's loss may be off in any case, as a fraction, with other arithmetic."""
FORMS = 0.01
"""How far the Hessian's forms may be off in sum with it, as a fraction of their absolute sum."""
LEVEL = 0.95
"""Probability that all accuracies of one run, which is as it should be, lie in their intervals."""
COUNTED = ("traits, batchnorm", "traits, chance", "realised, cost")
"""What does not depend on the arithmetic, even where training goes other ways."""
SAME, CONSISTENT, CONTRADICTS = "bit-identical", "consistent", "CONTRADICTS"


@dataclass(frozen=True)
class Again:
    """What a run gave the second time."""

    record: Record
    """As the one on disk, but with what was measured now."""
    trained: bool
    """Whether it was trained anew; else its checkpoint was measured."""
    left: tuple[str, ...] = ()
    """Which measurements of the one on disk were not made again, in words."""


def judge(record: Record, again: Again, others: Iterable[Record], here: dict) -> tuple[str, str]:
    """Return the verdict on a run, and what it is based on.

    Args:
        record: what is kept of it.
        again: what it gave now.
        others: the records of the same architecture, regime and recipe from other seeds.
        here: the facts of this process.
    """
    pairs = pair_rows(record, again.record)
    differ = [(block, old, new) for block, old, new in pairs if old != new]
    curved = pair_curvature(record, again.record)
    bent = [pair for pair in curved if pair[0] != pair[1]]
    same_weights = again.record["weights"] == record["weights"]
    facts = of_training(record, again.record)
    facts = [fact for fact in facts if same_weights or fact[0] in COUNTED]
    said = [
        ("trained anew" if again.trained else "measured anew")
        + f", {len(pairs) - len(differ)} of {len(pairs)} measurements are the same"
    ]
    if curved:
        said[0] += f", and {len(curved) - len(bent)} of {len(curved)} Hessian estimates"
    said.append(f"weights {again.record['weights'][:10]}, recorded {record['weights'][:10]}")
    if left := [*again.left, *facts_left(record, again.record)]:
        said.append(f"not done again: {', '.join(left)}")
    same_length = len(again.record["history"]) == len(record["history"])
    if same_weights and same_length and not (differ or bent or facts):
        return SAME, "; ".join(said)
    said += [f"{where} {new}, recorded {old}" for where, old, new in facts]
    if differ:
        _, old, new = max(differ, key=lambda d: abs(d[1][3] / d[1][4] - d[2][3] / d[2][4]))
        what = f"accuracy at α = {old[0]:g}, draw {old[1]} {new[3] / new[4]:.4f}, "
        was = f"recorded {old[3] / old[4]:.4f}"
        if old[3:5] == new[3:5]:  # all counts are the same: then it is a loss
            what = f"summed loss at α = {old[0]:g}, draw {old[1]} {new[5]!r}, "
            was = f"recorded {old[5]!r}"
        said.append(what + was)
    if not again.trained and not same_weights:
        return CONTRADICTS, "; ".join([*said, "its checkpoint is not what it was measured on"])
    # what was kept beside the weights, and what a model is, is the same with any arithmetic
    if any(not again.trained or where in COUNTED for where, *_ in facts):
        return CONTRADICTS, "; ".join([*said, "that does not depend on the arithmetic"])
    changed = other_arithmetic(record, again.trained, here)
    if not changed:
        return CONTRADICTS, "; ".join([*said, "the same arithmetic"])
    others = list(others)
    wrong, loss = compare_losses(record, again, others)
    outside, accuracies = compare_accuracies(record, again.record, others)
    far = [old for old, new in bent if not near(old, new)]
    if far:
        accuracies.append(f"{len(far)} Hessian estimates are more than {100 * FORMS:g}% off")
    said += [*loss, *accuracies, f"other arithmetic ({'; '.join(changed)})"]
    return (CONTRADICTS if wrong or outside or far else CONSISTENT), "; ".join(said)


def pair_rows(record: Record, found: Record) -> list[tuple[dict, list, list]]:
    """Return each measurement that two records have: settings, and the rows of both."""
    pairs = []
    for block in found["measurements"]:
        there = {records.key(row): row for row in records.rows(record, block["settings"])}
        rows = ((there.get(records.key(row)), row) for row in block["rows"])
        pairs += [(block["settings"], list(old), list(new)) for old, new in rows if old]
    return pairs


def pair_curvature(record: Record, found: Record) -> list[tuple[dict, dict]]:
    """Return each block of Hessian estimates that two records have, of both."""
    blocks = found.get("curvature", [])
    pairs = [(records.curvature_block(record, block["settings"]), block) for block in blocks]
    return [(old, new) for old, new in pairs if old]


def near(old: dict, new: dict) -> bool:
    """Return whether Hessian estimates differ by no more than rounding lets expect."""
    shapes = [{name: len(forms) for name, forms in b["forms"].items()} for b in (old, new)]
    if shapes[0] != shapes[1] or old["images"] != new["images"]:
        return False
    pairs = [p for name, forms in old["forms"].items() for p in zip(forms, new["forms"][name])]
    finite = [(a, b) for a, b in pairs if a is not None and b is not None]
    unlike = any((a is None) != (b is None) for a, b in pairs)
    off = sum(abs(a - b) for a, b in finite)
    return not unlike and off <= FORMS * sum(abs(b) for _, b in finite)


def facts_left(record: Record, found: Record) -> list[str]:
    """Return what a record says of its training and model, and doing it again does not tell."""
    return [
        f"{part} {name}"
        for part in ("traits", "realised")
        for name in record.get(part, {})
        if name not in found.get(part, {})
    ]


def other_arithmetic(record: Record, trained: bool, here: dict) -> list[str]:
    """Return in words what of a record was computed with other arithmetic than that of here."""
    kinds = ("training", "measuring") if trained else ("measuring",)
    facts = [s for kind in kinds for s in segments(record["provenance"].get(kind, {}))]
    return list(dict.fromkeys(text for s in facts for text in arithmetic.differences(here, s)))


def compare_losses(
    record: Record, again: Again, others: Iterable[Record]
) -> tuple[bool, list[str]]:
    """Return whether the first epoch's losses disagree, and both of them in words."""
    if not again.trained:
        return False, []
    epochs = len(again.record["history"]), len(record["history"])
    if not all(epochs):
        return any(epochs), ["{} epochs of losses, recorded {}".format(*epochs)]
    new, old = again.record["history"][0], record["history"][0]
    off = abs(new - old) / abs(old) if old else float(new != old)
    text = f"first epoch's loss {new:.5f}, recorded {old:.5f} ({100 * off:.3f}% off"
    if off <= LOSS:
        return False, [f"{text}, at most {100 * LOSS:g}%)"]
    firsts = [other["history"][0] for other in others if other["history"]]
    interval = prediction_interval(firsts, LEVEL)
    if interval is None:
        return True, [f"{text}, more than {100 * LOSS:g}%)"]
    low, high = interval
    inside = low <= new <= high
    return not inside, [f"{text}; {'' if inside else 'not '}in [{low:.5f}, {high:.5f}])"]


def compare_accuracies(
    record: Record, found: Record, others: Iterable[Record]
) -> tuple[bool, list[str]]:
    """Return whether an accuracy is not one that other seeds let expect, and in words which."""
    others, outside, tested = list(others), [], 0
    pairs = pair_rows(record, found)
    groups = {(repr(settings), old[0]): settings for settings, old, _ in pairs}
    for (name, strength), settings in groups.items():
        mine = mean_accuracy(found, settings, strength)
        values = [mean_accuracy(other, settings, strength) for other in others]
        values = [value for value in values if value is not None]
        total = next(old[4] for s, old, _ in pairs if (repr(s), old[0]) == (name, strength))
        if mine is None or len(values) < 2:
            continue
        least = counting_variance(sum(values) / len(values), total)
        interval = prediction_interval(values, 1 - (1 - LEVEL) / len(groups), least)
        tested += 1
        low, high = interval
        # A seed that is itself far from the others is so again, and contradicts nothing.
        recorded = mean_accuracy(record, settings, strength)
        near = abs(mine - recorded) <= counting_variance(recorded, total) ** 0.5
        if not (low <= mine <= high or near):
            of = settings.get("noise", "α")
            outside.append(f"{mine:.4f} at {of} = {strength:g} is not in [{low:.4f}, {high:.4f}]")
    if not tested:
        return False, ["too few other seeds to say which accuracies they let expect"]
    inside = f"{tested - len(outside)} of {tested} mean accuracies are as recorded or in the "
    text = f"{inside}{100 * LEVEL:g}% prediction intervals of {len(others)} other seeds"
    return bool(outside), [text, *outside[:3]]


def mean_accuracy(record: Record, settings: dict, strength: float) -> float | None:
    """Return the mean accuracy of a record at one strength; None if it has none."""
    rows = [row for row in records.rows(record, settings) if row[0] == strength]
    return sum(row[3] / row[4] for row in rows) / len(rows) if rows else None
