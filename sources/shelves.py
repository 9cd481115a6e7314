"""Libraries of image classifiers: their names, the images that they take, their models."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor, nn
from torchvision.transforms import functional as images
from torchvision.transforms.functional import InterpolationMode

from machine.checks import UsageError


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
