"""What a look costs: the error of words after seeds were added. Pure functions of rows. No torch.

Whoever looks, and adds seeds where nothing is resolved yet, has more than one chance of a false
word: with 5% each time, 9% with three seeds and then six, 12% with ten as well. A plan fixes its
seeds when it is first executed (`store.looks`), and has the whole error of 5% for them. Each
time that seeds were added, the error of all words and of their intervals is a fifth of what it was
(`SPENT`): together, over any number of looks, at most 5% × 1.25 = 6.25% of experiments have a false
word in any of their reports, and at most 5% in the last one; simulated, 2.6 to 4.7% have one in
any. `benchmarks/STATISTICS.md` has what else was tried.

The number of looks stands in the rows, in the column `looks`; 1 where there is none.
"""

from collections.abc import Mapping

import pandas as pd

from store.looks import Groups

SPENT = 0.2
"""The error of each look, as a part of that of the look before it."""


def part_of(table: pd.DataFrame) -> pd.Series:
    """Return what part of the error the words of each architecture have now, by architecture."""
    known = table if "looks" in table else table.assign(looks=1)
    return SPENT ** (known.groupby("architecture", observed=True).looks.max() - 1.0)


def say_looks(looks: Mapping[str, Groups], level: float) -> str:
    """Return in a sentence where seeds were added after a look, and what that costs; "" where none
    were.

    Args:
        looks: groups of seeds by architecture, of a plan.
        level: that of a plan whose seeds were fixed once.
    """
    added: dict[Groups, list[str]] = {}
    for name, groups in looks.items():
        if len(groups) > 1:
            added.setdefault(groups, []).append(name)
    said = []
    for groups, names in added.items():
        now = 1 - (1 - level) * SPENT ** (len(groups) - 1)
        seeds = "; then ".join(" ".join(map(str, group)) for group in groups)
        said.append(
            f"Seeds of {', '.join(names)} were added after a look ({seeds}): what is said to hold "
            f"with {level:.0%} holds with {100 * now:.5g}% there, so that over all {len(groups)} "
            f"looks together at most {100 * (1 - level) * total(len(groups)):.3g}% of experiments "
            "have a false word."
        )
    return " ".join(said)


def total(looks: int) -> float:
    """Return the error of so many looks together, as a part of that of one."""
    return sum(SPENT**look for look in range(looks))
