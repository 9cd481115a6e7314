"""Measure what a record lacks, whatever measures it, until it is complete. No torch."""

from collections.abc import Callable, Iterable, Iterator

from analysis.needs import Block, needs
from config import Sweep
from store import records
from store.records import Record


def fill(
    record: Record,
    asked: Sweep,
    others: Iterable[Record | None],
    rows_of: Callable[[Block], Iterator[list]],
    traces_of: Callable[[Block], dict] | None = None,
) -> Iterator[tuple[Record, int]]:
    """Add to a record what a sweep asks for and it lacks.

    Args:
        record: of one run; it is not changed.
        asked: the sweep.
        others: the records of the same architecture and seed in other regimes.
        rows_of: yields a row for each point of a block, in order: see `records.COLUMNS`.
        traces_of: returns the block of Hessian estimates that `records.add_curvature` takes.

    Yields:
        The record with one more measurement, and how many more are known to be needed; 0 with the
        last one. More may turn out to be needed as the precision and the break become known.
    """
    others = list(others)
    while blocks := needs(record, asked, others):
        block, *later = blocks
        if block.images == "traces":
            yield records.add_curvature(record, traces_of(block)), 0
            return
        waiting = sum(len(b.points) for b in later)
        for left, row in zip(reversed(range(len(block.points))), rows_of(block), strict=True):
            record = records.add(record, block.settings, [row])
            more = left + waiting
            if not left:
                more = sum(len(b.points) for b in needs(record, asked, others))
            yield record, more
