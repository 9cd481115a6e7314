"""Image files → one array of bytes, or one sentence that says which file does not fit."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sources.spec import DataError

ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
GREY = ("1", "L", "LA", "La")
DEEP = ("I", "F")  # more than 8 bits: modes that begin so


def read_images(folder: Path, paths: Iterable[str]) -> np.ndarray:
    """Return images of one size, (N, H, W) uint8 if all are grey, else (N, 3, H, W).

    Args:
        folder: where they are.
        paths: of the files, below it.

    Raises:
        DataError: a file is no image, has another size, more than 8 bits or transparent pixels.
    """
    paths = list(paths)
    images: list[np.ndarray] = []
    for path in paths:
        image = read_image(folder / path, path)
        if images and image.shape[:2] != images[0].shape[:2]:
            held, first = ("x".join(map(str, i.shape[1::-1])) for i in (image, images[0]))
            raise DataError(f"{path}: {held} pixels, but {paths[0]} has {first}; make them alike")
        images.append(image)
    if all(image.ndim == 2 for image in images):
        return np.stack(images)  # (N, H, W)
    colours = np.empty((len(images), 3, *images[0].shape[:2]), np.uint8)
    for n, image in enumerate(images):
        colours[n] = image if image.ndim == 2 else image.transpose(2, 0, 1)  # -> (3, H, W)
    return colours


def read_image(file: Path, name: str) -> np.ndarray:
    """Return one image, (H, W) uint8 if it is grey, else (H, W, 3); DataError calls it `name`."""
    from PIL import Image  # only where there are images to read

    try:
        with Image.open(file) as image:
            image.load()
            mode = image.mode
            alpha = None
            if mode in ALPHA or "transparency" in image.info:
                alpha = image.convert("RGBA").getchannel("A").getextrema()[0]
            if not mode.startswith(DEEP):
                pixels = np.asarray(image.convert("L" if mode in GREY else "RGB"))
    except Exception as error:  # whatever a decoder comes up with
        reason = " ".join(str(error).replace(str(file), name).split())[:80] or type(error).__name__
        raise DataError(f"{name}: cannot be read as an image ({reason})") from None
    if mode.startswith(DEEP):
        raise DataError(f"{name}: has pixels of more than 8 bits (mode {mode}); takes 8 bits")
    if alpha is not None and alpha < 255:
        raise DataError(f"{name}: has transparent pixels; put it on a background first")
    return pixels
