"""Who trained and measured which part of a run: facts of each process whose facts are its own."""

from machine.arithmetic import differences

FROM = "from"
"""Where a segment begins: [epochs, steps] done of a training, or measurements that were there."""
TIMES = ("epoch_seconds", "unfinished_seconds", "seconds", "segments")
"""Beside the facts of a process: what is recorded of all segments together."""


def segments(facts: dict) -> list[dict]:
    """Return the segments of a training or of measurements, each with the facts of its process."""
    return facts.get("segments") or [{**facts, FROM: 0}]


def go_on(before: dict | None, here: dict, begin: int | list[int]) -> dict:
    """Return what is added to the facts of a process that goes on where others stopped.

    Args:
        before: what is recorded of the others; None if there are none.
        here: the facts of this process.
        begin: where it goes on; see `FROM`.

    Returns:
        {"segments": [...]}, or {} while all of them have the same facts.
    """
    if not before:
        return {}
    parts = [{k: v for k, v in part.items() if k not in TIMES} for part in segments(before)]
    if len(parts) == 1:
        parts[0][FROM] = [0, 0] if isinstance(begin, list) else 0
    last = {k: v for k, v in parts[-1].items() if k != FROM}
    if last != here:
        parts.append({**here, FROM: begin})
    return {"segments": parts} if len(parts) > 1 else {}


def say_change(before: dict | None, here: dict) -> str:
    """Return in words that others computed with other arithmetic; "" if they did not."""
    changed = differences(here, segments(before)[-1]) if before else []
    return f"with other arithmetic: {'; '.join(changed)}" if changed else ""
