"""A library's image classifier with weights of the user's, and test images → what is measured.

`torchvision:NAME` and, where it is installed, `timm:NAME`; weights are a state dict, loaded without
running code. Images are resized, cut and normalised as the library does for this model, where
nothing else is said.
"""

import functools
import hashlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torchvision.transforms import functional as images
from torchvision.transforms.functional import InterpolationMode

from machine.checks import UsageError, known, positive, shown, within
from sources.examples import Batches, Unfit, count
from sources.own import Own, device_of, inner
from store.own import Task

BATCH = 100
"""Images at a time."""
Find = Callable[[str], tuple[Tensor, Tensor, int]]
"""From a dataset's name to its test images, uint8 (N, H, W) or (N, C, H, W), their labels (N,), and
the number of classes; UsageError where there is none."""
NESTED = ("state_dict", "model_state_dict", "model", "net")
"""Entries of a checkpoint under which others keep the state dict."""
WRAPPERS = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class Transform:
    """From an image to what a model takes."""

    resize: int | None
    """Shorter side after resizing; None leaves it."""
    size: int
    """Side of the square in the middle."""
    mean: tuple[float, ...]
    """Of the pixels in [0, 1], by channel."""
    std: tuple[float, ...]
    interpolation: str = "bilinear"

    def __str__(self) -> str:
        mean, std = (" ".join(f"{v:g}" for v in part) for part in (self.mean, self.std))
        cut = f"shorter side resized to {self.resize} ({self.interpolation}), the middle "
        return f"{cut}{self.size}×{self.size}, mean {mean}, std {std}"

    def pixels(self, image) -> Tensor:
        """Return an image (PIL, or uint8 (C, H, W)) as uint8 (3, size, size)."""
        if not isinstance(image, Tensor):
            image = image.convert("RGB")
        mode = InterpolationMode(self.interpolation)
        image = images.resize(image, [self.resize], mode, antialias=True)
        image = images.center_crop(image, [self.size])
        found = image if isinstance(image, Tensor) else images.pil_to_tensor(image)
        return found.expand(3, -1, -1)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return uint8 (B, 3, H, W) as float32, normalised."""
        mean, std = (torch.tensor(v, device=pixels.device) for v in (self.mean, self.std))
        x = pixels.to(torch.float32) / 255  # (B, 3, H, W)
        return (x - mean[:, None, None]) / std[:, None, None]


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


class Torchvision:
    """torchvision's classifiers."""

    def names(self) -> list[str]:
        """Return what there is."""
        return torchvision.models.list_models(module=torchvision.models)

    def transform(self, name: str) -> Transform:
        """Return the transform of the best weights that torchvision has for a model."""
        preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        (size,), (resize,) = preset.crop_size, preset.resize_size
        pixels = tuple(preset.mean), tuple(preset.std)
        return Transform(resize, size, *pixels, preset.interpolation.value)

    def build(self, name: str, classes: int, size: int, state: Mapping | None) -> nn.Module:
        """Return a model: with the library's weights where there is no state to load."""
        if state is None:
            try:
                return torchvision.models.get_model(name, weights="DEFAULT")
            except OSError as error:
                raise UsageError(f"--weights: the library's own cannot be had ({error})") from None
        more: dict = {}
        if size and name.startswith("vit_"):
            more["image_size"] = size
        if name in ("googlenet", "inception_v3"):  # heads that only training uses
            more = {"init_weights": False}
            more["aux_logits"] = any(key.lower().startswith("aux") for key in state)
        return torchvision.models.get_model(name, weights=None, num_classes=classes, **more)


class Timm:
    """timm's classifiers."""

    def names(self) -> list[str]:
        """Return what there is."""
        import timm

        return timm.list_models()

    def transform(self, name: str) -> Transform:
        """Return the transform of a model's default weights."""
        import timm

        found = timm.data.resolve_data_config({}, model=timm.create_model(name))
        size = found["input_size"][-1]
        resize = round(size / found.get("crop_pct", 1.0))
        pixels = tuple(found["mean"]), tuple(found["std"])
        return Transform(resize, size, *pixels, found.get("interpolation", "bilinear"))

    def build(self, name: str, classes: int, size: int, state: Mapping | None) -> nn.Module:
        """Return a model: with the library's weights where there is no state to load."""
        import timm

        if state is None:
            return timm.create_model(name, pretrained=True)
        return timm.create_model(name, num_classes=classes)


SHELVES = {"torchvision": Torchvision, "timm": Timm}


def chosen(usual: Transform, size: int, mean: tuple, std: tuple) -> Transform:
    """Return the library's transform, with what the user says in place of it."""
    within("--size", size, 0, 4096, "0 = the library's")
    for option, values in (("--mean", mean), ("--std", std)):
        if len(values) not in (0, 1, 3):
            raise UsageError(f"{option}: takes one number or three, got {len(values)}")
        for value in values:
            positive(option, value, zero=option == "--mean")
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


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a file, whatever it is wrapped in; no code of it is run.

    Raises:
        UsageError: if it is none.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UsageError(f"--weights: {shown(path)} is not there") from None
    except Exception as error:  # torch raises many kinds
        reason = "it would run code" if "weights_only" in str(error) else type(error).__name__
        raise UsageError(
            f"--weights: takes a state dict, from torch.save(model.state_dict(), PATH); "
            f"{path.name} is none ({reason})"
        ) from None
    for name in NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not (isinstance(found, Mapping) and any(isinstance(v, Tensor) for v in found.values())):
        raise UsageError(f"--weights: takes a state dict; {path.name} holds no tensors by name")
    state = dict(found)
    for prefix in WRAPPERS * 2:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def load_into(net: nn.Module, state: dict, path: Path, where: str, classes: int, name: str) -> None:
    """Load a state dict; what does not fit is said in a line.

    Raises:
        UsageError: if it is of another model, or of another number of classes than the data.
    """
    mine = net.state_dict()
    lacking, more = sorted(mine.keys() - state.keys()), sorted(state.keys() - mine.keys())
    if lacking or more:
        first = (lacking or more)[0]
        raise UsageError(
            f"--weights: {path.name} is not of {name}: {len(lacking)} of its names are missing, "
            f"{len(more)} are none of it (such as {first})"
        )
    other = [key for key in mine if mine[key].shape != state[key].shape]
    heads = [
        k for k in other if mine[k].shape[1:] == state[k].shape[1:] and classes in mine[k].shape
    ]
    if other and len(heads) == len(other):
        held = state[heads[0]].shape[0]
        raise UsageError(
            f"--weights: {path.name} tells {held} classes apart, {where} has {classes}"
        )
    if other:
        shapes = f"{tuple(state[other[0]].shape)}, not {tuple(mine[other[0]].shape)}"
        raise UsageError(
            f"--weights: {path.name} is not of {name} as it is: {other[0]} is {shapes}"
        )
    net.load_state_dict(state)


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
