"""What the tests do to files: arbitrary content, damage, and a look whether any was touched."""

import copy
from pathlib import Path

from hypothesis import strategies as st

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=10), parts),
    max_leaves=10,
)
"""Whatever JSON can hold, and what Python writes as JSON beyond that: NaN and infinity."""


def snapshot(folder: Path) -> dict[str, tuple]:
    """Return everything under a folder, so that any touch shows."""
    paths = sorted(folder.rglob("*"))
    return {str(p): (p.lstat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in paths}


def rewrite(path: Path, data: bytes) -> None:
    """Write a file anew: where one is only cut and filled again, ext4 waits for the disk."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def flip(data: bytes, bit: int) -> bytes:
    """Return the data with one bit flipped, counted from the start."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """Return the data with bytes changed, a piece cut out, and others put in its place."""
    spots = st.integers(0, len(data))
    changes = st.dictionaries(st.integers(0, len(data) - 1), st.integers(0, 255), max_size=3)
    pieces = st.one_of(st.just(b""), st.binary(max_size=8), st.sampled_from([b"[" * 9999, b"0"]))

    def apply(changes: dict[int, int], a: int, b: int, piece: bytes) -> bytes:
        changed = bytearray(data)
        for spot, value in changes.items():
            changed[spot] = value
        return bytes(changed[: min(a, b)]) + piece + bytes(changed[max(a, b) :])

    whole = st.builds(apply, changes, st.just(0), st.just(0), st.just(b""))
    return whole | st.builds(apply, changes, spots, spots, pieces)


@st.composite
def edited(draw, body):
    """Return JSON data with one part, at any depth, deleted, renamed or given another value."""
    body = copy.deepcopy(body)
    spot = body
    while True:
        keys = sorted(spot) if isinstance(spot, dict) else range(len(spot))
        key = draw(st.sampled_from(keys))
        if isinstance(spot[key], (dict, list)) and spot[key] and draw(st.booleans()):
            spot = spot[key]
            continue
        value = spot.pop(key)
        if draw(st.booleans()):
            new = draw(json_values)
            spot.update({key: new}) if isinstance(spot, dict) else spot.insert(key, new)
        elif isinstance(spot, dict) and draw(st.booleans()):
            spot[draw(st.text(max_size=10))] = value
        return body
