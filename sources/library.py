"""A library's image classifier with weights of the user's, and test images → what is measured.

`torchvision:NAME` and, where it is installed, `timm:NAME`; weights are a state dict, loaded without
running code. Images are resized, cut and normalised as the library does for this model, where
nothing else is said.
"""

import functools
import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from machine.checks import UsageError, known, positive, within
from sources.examples import Batches, Unfit, count
from sources.own import Own, device_of, inner
from sources.shelves import SHELVES, Transform
from sources.state import load_into, read_state
from store.own import Task

BATCH = 100
"""Images at a time."""
Find = Callable[[str], tuple[Tensor, Tensor, int]]
"""From a dataset's name to its test images, uint8 (N, H, W) or (N, C, H, W), their labels (N,), and
the number of classes; UsageError where there is none."""


def read_library(
    model: str,
    weights: Path | None,
    where: str,
    find: Find,
    size: int = 0,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    test_size: int = 0,
    device: torch.device | str = "cpu",
) -> Own:
    """Return a library's model as one to measure.

    Args:
        model: "torchvision:NAME" or "timm:NAME".
        weights: file of the state dict; None takes the library's own weights.
        where: "folder:PATH", with a folder per class, or the name of a dataset.
        find: finds a dataset.
        size, mean, std: in place of the library's own.
        test_size: the first this many images; 0 = all.
        device: where to compute.

    Raises:
        UsageError: what does not fit, in a line.
    """
    library, _, name = model.partition(":")
    if library == "timm" and not importlib.util.find_spec("timm"):
        raise UsageError("--model: timm:NAME needs a package: pip install timm")
    shelf = SHELVES[library]()
    known("--model", [name], shelf.names())
    transform = chosen(shelf.transform(name), size, mean, std)
    items, classes = read_images(where, find, transform, test_size)
    state = read_state(weights) if weights else None
    net = shelf.build(name, classes, transform.size if size else 0, state)
    if state is not None:
        load_into(net, state, weights, where, classes, name)
    net = net.to(device).eval()
    batches = functools.partial(in_batches, items)
    try:
        examples = Batches(batches)
    except Unfit as error:
        raise UsageError(f"--data: {where}: {error}") from None
    except OSError as error:
        raise UsageError(f"--data: {where}: {' '.join(str(error).split())[:200]}") from None
    check_answer(net, transform, examples, classes, f"--model: {model}")

    def measure(net: nn.Module) -> tuple[int, int, float | None]:
        found = examples.on(device_of(net))
        return count(inner(net), ((transform.normalise(x), y) for x, y in found))

    digest = hashlib.sha256(f"{examples.digest} {transform}".encode()).hexdigest()
    regime = weights.stem if weights else "pretrained"
    return Own(
        name=name,
        models={(regime, 0): net},
        measure=measure,
        task=Task(digest, dataset=where, chance=1 / classes, baseline=regime),
        examples=examples.examples,
        notes=[f"images: {transform}"],
    )


def chosen(usual: Transform, size: int, mean: tuple, std: tuple) -> Transform:
    """Return the library's transform, with what the user says in place of it."""
    within("--size", size, 0, 4096, "0 = the library's")
    for option, values in (("--mean", mean), ("--std", std)):
        if len(values) not in (0, 1, 3):
            raise UsageError(f"{option}: takes one number or three, got {len(values)}")
        for value in values:
            positive(option, value, zero=option == "--mean")
            if option == "--mean" and value > 1:
                raise UsageError(f"--mean: is of pixels from 0 to 1, got {value:g}")
    found = replace(usual, resize=size, size=size) if size else usual
    triples = {n: v * (3 // len(v)) for n, v in (("mean", mean), ("std", std)) if v}
    return replace(found, **triples)


def read_images(where: str, find: Find, transform: Transform, size: int) -> tuple[list, int]:
    """Return a list of functions that each make an image's pixels, with labels; and the classes.

    Images of a folder come in an order of their own, by the digest of their names: the first so
    many are then of all classes.
    """
    kind, colon, path = where.partition(":")
    if kind == "folder" and colon:
        try:
            folder = torchvision.datasets.ImageFolder(path)
        except (OSError, RuntimeError) as error:
            raise UsageError(
                "--data: takes folder:PATH with a folder of images for each class; "
                f"{' '.join(str(error).split())[:200]}"
            ) from None
        names = sorted(folder.samples, key=lambda s: key_of(s[0], path))
        items = [(functools.partial(opened, folder.loader, p, transform), y) for p, y in names]
        return items[: size or None], len(folder.classes)
    x, y, classes = find(where)
    x, y = x[: size or None], y[: size or None]
    x = x[:, None] if x.dim() == 3 else x  # (N, H, W) -> (N, 1, H, W)
    items = [
        (functools.partial(transform.pixels, image), int(label))
        for image, label in zip(x, y, strict=True)
    ]
    return items, classes


def key_of(path: str, folder: str) -> str:
    """Return what an image of a folder is sorted by."""
    name = Path(path).relative_to(folder).as_posix()
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()


def opened(load, path: str, transform: Transform) -> Tensor:
    """Return the pixels of an image file."""
    try:
        return transform.pixels(load(path))
    except OSError as error:
        raise OSError(f"{Path(path).name} cannot be read ({error})") from None


def in_batches(items: list) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images uint8 (B, 3, H, W) and labels (B,)."""
    for start in range(0, len(items), BATCH):
        part = items[start : start + BATCH]
        yield torch.stack([make() for make, _ in part]), torch.tensor([y for _, y in part])


def check_answer(
    net: nn.Module, transform: Transform, examples: Batches, classes: int, say: str
) -> None:
    """Check on one image that a model takes the size, and that its classes are the data's."""
    x, _ = next(examples.on(device_of(net)))
    try:
        with torch.inference_mode():
            logits = net(transform.normalise(x[:1]))
    except Exception as error:  # whatever a model raises where it is given another size
        reason = " ".join(str(error).split())[:150]
        size = f"{transform.size}×{transform.size}"
        raise UsageError(f"--size: {say} does not take images of {size} ({reason})") from None
    if logits.shape[-1] != classes:
        raise UsageError(f"{say} tells {logits.shape[-1]} classes apart, the data have {classes}")
