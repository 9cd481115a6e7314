"""The architectures: every model takes pixels (B, C, H, W) in [0, 1] and gives logits (B, classes).

Normalisation, and a resize where a model needs one, are inside the model. To add an architecture,
write a function from a `Shape` to an `nn.Module` and give it a line in `ARCHITECTURES`. The sizes
in comments are those of MNIST.
"""

from machine.process import steady_output  # first: it checks Python's version

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer

from config import Shape
from machine.fast_layers import (
    Colours,
    Conv2d,
    FlatLinear,
    MaxPool2d,
    Normalize,
    Resize,
    skip_dead_work,
)
from sources.spec import DatasetSpec

SEED = Shape()
"""The seed's 3-channel MNIST, which `build` takes where it is told nothing else."""


def size_of(shape: Shape) -> str:
    """Return height and width as messages show them."""
    return f"{shape.height}x{shape.width}"


def mlp(shape: Shape = SEED) -> nn.Module:
    """Two hidden layers of 512 and 256 units, ReLU."""
    return nn.Sequential(
        FlatLinear(shape.channels * shape.height * shape.width, 512),  # (B, C, H, W) -> (B, 512)
        nn.ReLU(),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Linear(256, shape.classes),
    )


def cnn(shape: Shape = SEED) -> nn.Module:
    """Two 3×3 convolutions of 32 and 64 channels, each max-pooled, and one hidden layer."""
    pixels = (shape.height // 4) * (shape.width // 4)
    if not pixels:
        raise ValueError(f"cnn takes images of 4x4 pixels or more, not {size_of(shape)}")
    net = nn.Sequential(
        Conv2d(shape.channels, 32, 3, padding=1),  # (B, C, 28, 28) -> (B, 32, 28, 28)
        MaxPool2d(2),  # before the ReLU: the two commute, and ReLU then sees a quarter
        nn.ReLU(),
        Conv2d(32, 64, 3, padding=1),  # (B, 32, 14, 14) -> (B, 64, 14, 14)
        MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),  # (B, 64, 7, 7) -> (B, 3136)
        nn.Linear(64 * pixels, 128),
        nn.ReLU(),
        nn.Linear(128, shape.classes),
    )
    # Training noise is drawn in the order of memory: another order would be another noisy run.
    return net.to(memory_format=torch.channels_last)


def resnet18(shape: Shape = SEED) -> nn.Module:
    """torchvision's ResNet-18 (He et al., 2016) as it is, whatever the size of the images."""
    net = torchvision.models.resnet18(num_classes=shape.classes)
    if shape.channels != 3:
        net.conv1 = nn.Conv2d(shape.channels, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")  # as theirs
    return skip_dead_work(net)


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut without weights: option A of He et al. (2016).

    Where the map shrinks, the shortcut takes every second pixel, and new channels are zero.
    """

    def __init__(self, before: int, width: int):
        super().__init__()
        self.stride, self.more = width // before, width - before
        self.conv1 = nn.Conv2d(before, width, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))  # (B, c, H, W) -> (B, C, H/s, W/s)
        y = self.bn2(self.conv2(y))
        x = x[:, :, :: self.stride, :: self.stride]  # (B, c, H, W) -> (B, c, H/s, W/s)
        return F.relu(y + F.pad(x, (0, 0, 0, 0, 0, self.more)))  # (B, C, H/s, W/s)


def resnet20(shape: Shape = SEED) -> nn.Module:
    """The ResNet-20 of CIFAR (He et al., 2016, section 4.2): 3 stages of 3 blocks, 0.27 M weights.

    It pools over whatever is left of the image, so that any size will do.
    """
    widths = (16, *[16] * 3, *[32] * 3, *[64] * 3)
    net = nn.Sequential(
        nn.Conv2d(shape.channels, 16, 3, padding=1, bias=False),  # (B, C, H, W) -> (B, 16, H, W)
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *(Block(before, width) for before, width in itertools.pairwise(widths)),
        nn.AdaptiveAvgPool2d(1),  # (B, 64, H/4, W/4) -> (B, 64, 1, 1)
        nn.Flatten(),
        nn.Linear(64, shape.classes),
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return skip_dead_work(net).to(memory_format=torch.channels_last)


def vit(shape: Shape = SEED) -> nn.Module:
    """A small vision transformer (Dosovitskiy et al., 2021): 4×4 patches of an image, width 64."""
    if shape.height != shape.width or shape.height % 4:
        raise ValueError(f"vit takes square images of 4·n pixels, not {size_of(shape)}")
    net = VisionTransformer(
        image_size=shape.height,
        patch_size=shape.height // 4,
        num_layers=6,
        num_heads=4,
        hidden_dim=64,
        mlp_dim=128,
        num_classes=shape.classes,
    )
    if shape.channels != 3:
        old = net.conv_proj
        net.conv_proj = nn.Conv2d(shape.channels, 64, old.kernel_size, old.stride)
        fan_in = shape.channels * math.prod(old.kernel_size)
        nn.init.trunc_normal_(net.conv_proj.weight, std=fan_in**-0.5)  # as theirs
        nn.init.zeros_(net.conv_proj.bias)
    return skip_dead_work(net)


def vit_b_16(shape: Shape = SEED) -> nn.Module:
    """torchvision's ViT-B/16 on images resized to 224×224: heavy, for a GPU or a cluster."""
    net = skip_dead_work(torchvision.models.vit_b_16(num_classes=shape.classes))
    parts = OrderedDict(resize=Resize(224), net=net)
    if shape.channels == 1:
        parts = OrderedDict(colours=Colours(), **parts)
    elif shape.channels != 3:
        raise ValueError(f"vit_b_16 takes 1 or 3 channels, not {shape.channels}")
    return nn.Sequential(parts)


ARCHITECTURES: dict[str, Callable[[Shape], nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "resnet18": resnet18,
    "resnet20": resnet20,
    "vit": vit,
    "vit_b_16": vit_b_16,
}

DEFAULT_ARCHITECTURES = ("mlp", "cnn", "resnet18", "vit")

PATTERNS: dict[str, dict[str, tuple[str, ...]]] = {}
"""For an architecture with raw parameters of its own: `{"clean": ("net.token",)}`, or "noisy"."""


def patterns(name: str) -> dict[str, tuple[str, ...]]:
    """Return the `noisy=` and `clean=` patterns of an architecture: see `noise`."""
    return {"noisy": (), "clean": (), **PATTERNS.get(name, {})}


def build(
    name: str,
    shape: Shape = SEED,
    mean: float | tuple[float, ...] = 0.1307,
    std: float | tuple[float, ...] = 0.3081,
) -> nn.Module:
    """Build an architecture with fresh initial weights from torch's global random stream.

    Args:
        name: a key of `ARCHITECTURES`.
        shape: of its images, and its classes.
        mean, std: of the pixels, in all or by channel; Fashion-MNIST's (0.286, 0.353) are close
            enough to MNIST's.

    Returns:
        A model from pixels (B, C, H, W), float32 in [0, 1], to logits (B, classes).

    Raises:
        KeyError: if there is no such architecture.
        ValueError: if it does not take the shape.
    """
    net = ARCHITECTURES[name](shape)
    return nn.Sequential(OrderedDict(normalize=Normalize(mean, std), net=net))


def build_for(name: str, dataset: DatasetSpec) -> nn.Module:
    """Build an architecture for the images and classes of a dataset: see `build`."""
    return build(name, dataset.shape, dataset.mean, dataset.std)


def main() -> None:
    """Print the shapes of the default architectures."""
    for name in DEFAULT_ARCHITECTURES:
        x = torch.rand(2, 3, 28, 28)
        logits = build(name).eval()(x)
        weights = sum(p.numel() for p in build(name).parameters())
        shapes = f"{tuple(x.shape)} -> {tuple(logits.shape)}"
        print(f"{name}: ok, {shapes}, {weights:,} parameters")


if __name__ == "__main__":
    from machine import words

    steady_output()
    words.run(main)
