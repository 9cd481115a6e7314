"""Which seeds a plan fixed, and when: groups of seeds, as the plan holds them.

When a plan is first executed its seeds are fixed, for each of its architectures: the first group.
Seeds that a later command adds, when something may have been looked at, are a further group; as
long as nothing was measured they join the last one. A plan that says nothing, of before, has had
one look at the seeds that it asks for. What groups mean for words and intervals: `analysis.looks`.
"""

from collections.abc import Iterable

from store.knobs import LARGEST_SEED

Groups = tuple[tuple[int, ...], ...]
Looks = tuple[tuple[str, Groups], ...]
"""Groups of seeds by architecture, sorted, so that it does not matter in which order plans met."""


def canonical(groups: Iterable[Iterable[int]]) -> Groups:
    """Return groups in order, without those that are a part of another."""
    every = {tuple(sorted({*group})) for group in groups}
    return tuple(sorted(g for g in every if not any({*g} < {*other} for other in every)))


def united_looks(first: Looks, then: Looks) -> Looks:
    """Return the groups of two plans: as many looks as they had together, one where they agree."""
    names = sorted({name for name, _ in (*first, *then)})
    both = dict(first), dict(then)
    return tuple((n, canonical(g for found in both for g in found.get(n, ()))) for n in names)


def fixed(groups: Groups, before: Iterable[int], asked: Iterable[int], looked: bool) -> Groups:
    """Return the groups of an architecture when its plan is executed.

    Args:
        groups: those it has.
        before: the seeds that earlier commands asked for.
        asked: those that are asked for now.
        looked: whether anything of it was measured, and so may have been looked at.
    """
    found = [list(group) for group in groups] or ([[*before]] if [*before] else [])
    more = {*asked} - {seed for group in found for seed in group}
    if more and found and not looked:
        found[-1] += more
    elif more:
        found.append([*more])
    return canonical(found)


def as_data(looks: Looks) -> dict:
    """Return looks as plain JSON data."""
    return {name: [list(group) for group in groups] for name, groups in looks}


def from_data(body: dict) -> Looks:
    """Return the looks that JSON data describes; or raise one of `changes.BROKEN`."""
    for groups in body.values():
        seeds = [seed for group in groups for seed in group]
        good = all(type(seed) is int and 0 <= seed <= LARGEST_SEED for seed in seeds)
        if not (good and groups and all(groups)):
            raise ValueError(f"looks are {body!r}")
    return tuple((name, canonical(body[name])) for name in sorted(body))
