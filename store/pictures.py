"""`images.json`: what is kept of the images that the report speaks of, when bits and data are gone.

Variance components, the images that break first, and of each of these its pixels and its label:
under 200 KB, so that it can be kept with a reference. Keys:

    format      version of this layout
    of          {"dataset", "validation_size", "test_size"}: whose images the numbers are
    weights     by run_id, the digest of the weights whose answers were counted
    components  rows of `analysis.images.effects`
    first       by architecture, rows of `analysis.images.first_to_break`
    pictures    by number: {"label", "shape", "pixels"}; bytes (H, W) or (C, H, W), compressed by
                zlib, in base64; large images are made smaller by averaging

No torch.
"""

import base64
import json
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from config import Recipe, Sweep
from store.files import Foreign, read_regular, write_whole

FORMAT = 1
MOST_PIXELS = 32
"""Height and width of a picture are at most this; it is halved, and so on, until it is not."""
MOST_BYTES = 150_000
"""Of all pictures together, in base64."""
Summary = dict


def path_of(results_dir: Path) -> Path:
    """Return where the summary of a results folder is."""
    return results_dir / "images.json"


def of_images(recipe: Recipe, sweep: Sweep) -> dict:
    """Return what says which images an experiment counts."""
    sizes = {"validation_size": recipe.validation_size, "test_size": sweep.test_size}
    return {"dataset": recipe.dataset, **sizes}


def new(of: dict) -> Summary:
    """Return a summary without anything."""
    empty = {"weights": {}, "components": [], "first": {}, "pictures": {}}
    return {"format": FORMAT, "of": of, **empty}


def find(results_dir: Path, of: dict) -> Summary:
    """Return the summary of a results folder; an empty one where there is no good one of these
    images."""
    try:
        found = json.loads(read_regular(path_of(results_dir)))
        good = found["format"] == FORMAT and found["of"] == of and set(found) == set(new(of))
        named = all(isinstance(name, str) for name in (*found["weights"], *architectures(found)))
        if good and named:
            return found
    except (OSError, Foreign, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    return new(of)


def architectures(summary: Summary) -> set[str]:
    """Return the architectures that a summary speaks of."""
    return {row["architecture"] for row in summary["components"]} | summary["first"].keys()


def save(results_dir: Path, summary: Summary) -> None:
    """Write a summary, without pictures of images that are no longer among the first."""
    write_whole(path_of(results_dir), dumps(summary))


def dumps(summary: Summary) -> bytes:
    """Return the bytes of a summary's file."""
    wanted = {str(image) for image in shown(summary)}
    kept = {n: p for n, p in sorted(summary["pictures"].items()) if n in wanted}
    return (json.dumps({**summary, "pictures": kept}, indent=1, allow_nan=False) + "\n").encode()


def take(results_dir: Path, other: Path) -> None:
    """Add another results folder's summary to ours: all pictures, also those that ours does not
    speak of yet, and what it says of architectures of which ours says nothing."""
    theirs = load_any(other)
    if theirs is None:
        return
    mine = load_any(results_dir) or new(theirs["of"])
    if mine["of"] == theirs["of"]:
        more = part(theirs, architectures(theirs) - architectures(mine))
        both = {
            **mine,
            "weights": {**more["weights"], **mine["weights"]},
            "components": [*mine["components"], *more["components"]],
            "first": {**mine["first"], **more["first"]},
            "pictures": {**theirs["pictures"], **mine["pictures"]},
        }
        write_whole(path_of(results_dir), f"{json.dumps(both, indent=1)}\n".encode())


def part(summary: Summary, names: Iterable[str]) -> Summary:
    """Return what a summary says of some architectures; all pictures stay."""
    names = {*names}
    whose = tuple(f"{name}-" for name in names)  # how their run_ids begin
    return {
        **summary,
        "weights": {r: w for r, w in summary["weights"].items() if r.startswith(whose)},
        "components": [row for row in summary["components"] if row["architecture"] in names],
        "first": {name: rows for name, rows in summary["first"].items() if name in names},
    }


def load_any(results_dir: Path) -> Summary | None:
    """Return the summary of a results folder, whatever images it is of; None if there is none."""
    try:
        found = json.loads(read_regular(path_of(results_dir)))
        return found if find(results_dir, found["of"]) == found else None
    except (OSError, Foreign, ValueError, KeyError, TypeError, RecursionError):
        return None


def shown(summary: Summary) -> list[int]:
    """Return the numbers of the images that a summary speaks of, each once."""
    return sorted({row["image"] for rows in summary["first"].values() for row in rows})


def lacking(summary: Summary) -> list[int]:
    """Return those of them that have no picture."""
    return [image for image in shown(summary) if str(image) not in summary["pictures"]]


def add(summary: Summary, pictures: dict[int, tuple[np.ndarray, int]]) -> None:
    """Add pictures to a summary: by number bytes, (H, W) or (C, H, W) uint8, and the label."""
    most = MOST_PIXELS
    while True:
        found = {str(n): packed(shrunk(p, most), label) for n, (p, label) in pictures.items()}
        if sum(len(p["pixels"]) for p in found.values()) <= MOST_BYTES or most == 1:
            break
        most //= 2
    summary["pictures"] |= found


def shrunk(pixels: np.ndarray, most: int) -> np.ndarray:
    """Return an image with height and width of at most `most`, each pixel the mean of a square."""
    while max(pixels.shape[-2:]) > most:
        height, width = (-(-n // 2) * 2 for n in pixels.shape[-2:])
        edge = [(0, height - pixels.shape[-2]), (0, width - pixels.shape[-1])]
        whole = np.pad(pixels, [(0, 0)] * (pixels.ndim - 2) + edge, mode="edge")
        squares = whole.reshape(*whole.shape[:-2], height // 2, 2, width // 2, 2)
        pixels = squares.mean(axis=(-3, -1)).round().astype(np.uint8)  # (..., H / 2, W / 2)
    return pixels


def packed(pixels: np.ndarray, label: int) -> dict:
    """Return a picture as JSON data."""
    text = base64.b64encode(zlib.compress(np.ascontiguousarray(pixels).tobytes(), 9)).decode()
    return {"label": int(label), "shape": list(pixels.shape), "pixels": text}


def pixels_of(picture: dict) -> np.ndarray:
    """Return the pixels of a picture, (H, W) or (H, W, 3) uint8, as they are drawn.

    Raises:
        ValueError: if they are none.
    """
    try:
        shape = tuple(map(int, picture["shape"]))
        size = int(np.prod(shape))
        if len(shape) not in (2, 3) or not 0 < size <= 4 * MOST_PIXELS**2:
            raise ValueError(f"a picture of shape {shape}")
        data = zlib.decompressobj().decompress(base64.b64decode(picture["pixels"]), size + 1)
        found = np.frombuffer(data, np.uint8).reshape(shape)
    except (KeyError, TypeError, zlib.error) as error:
        raise ValueError(f"a picture that is none ({error})") from None
    if found.ndim == 2:
        return found
    return np.moveaxis(found, 0, -1) if len(found) == 3 else found[0]  # -> (H, W, 3), (H, W)
