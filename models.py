"""The architectures: every model takes pixels (B, 3, 28, 28) in [0, 1] and gives logits (B, 10).

Normalisation, and a resize where a model needs one, are inside the model. To add an architecture,
write a function that returns an `nn.Module` and give it a line in `ARCHITECTURES`.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
import torchvision
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer

from layers import FlatLinear, Normalize, Resize, skip_dead_work

CLASSES = 10


def mlp() -> nn.Module:
    """Two hidden layers of 512 and 256 units, ReLU."""
    return nn.Sequential(
        FlatLinear(3 * 28 * 28, 512),  # (B, 3, 28, 28) -> (B, 512)
        nn.ReLU(),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Linear(256, CLASSES),
    )


def cnn() -> nn.Module:
    """Two 3×3 convolutions of 32 and 64 channels, each max-pooled, and one hidden layer."""
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),  # (B, 3, 28, 28) -> (B, 32, 28, 28)
        nn.MaxPool2d(2),  # before the ReLU: the two commute, and ReLU then sees a quarter
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),  # (B, 32, 14, 14) -> (B, 64, 14, 14)
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),  # (B, 64, 7, 7) -> (B, 3136)
        nn.Linear(64 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, CLASSES),
    )
    # Training noise is drawn in the order of memory: another order would be another noisy run.
    return skip_dead_work(net).to(memory_format=torch.channels_last)


def resnet18() -> nn.Module:
    """torchvision's ResNet-18 (He et al., 2016) as it is, on 28×28 images."""
    return skip_dead_work(torchvision.models.resnet18(num_classes=CLASSES))


def vit() -> nn.Module:
    """A small vision transformer (Dosovitskiy et al., 2021): 16 patches of 7×7, width 64."""
    return skip_dead_work(
        VisionTransformer(
            image_size=28,
            patch_size=7,
            num_layers=6,
            num_heads=4,
            hidden_dim=64,
            mlp_dim=128,
            num_classes=CLASSES,
        )
    )


def vit_b_16() -> nn.Module:
    """torchvision's ViT-B/16 on images resized to 224×224: heavy, for a GPU or a cluster."""
    net = skip_dead_work(torchvision.models.vit_b_16(num_classes=CLASSES))
    return nn.Sequential(OrderedDict(resize=Resize(224), net=net))


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "resnet18": resnet18,
    "vit": vit,
    "vit_b_16": vit_b_16,
}

DEFAULT_ARCHITECTURES = ("mlp", "cnn", "resnet18", "vit")


def build(name: str) -> nn.Module:
    """Build an architecture with fresh initial weights from torch's global random stream.

    Args:
        name: a key of `ARCHITECTURES`.

    Returns:
        A model from pixels (B, 3, 28, 28), float32 in [0, 1], to logits (B, 10).

    Raises:
        KeyError: if there is no such architecture.
    """
    # MNIST's mean and standard deviation; Fashion-MNIST's (0.286, 0.353) are close enough.
    normalize = Normalize(mean=0.1307, std=0.3081)
    return nn.Sequential(OrderedDict(normalize=normalize, net=ARCHITECTURES[name]()))


def main() -> None:
    """Check the shapes of the default architectures."""
    for name in DEFAULT_ARCHITECTURES:
        x = torch.rand(2, 3, 28, 28)
        logits = build(name).eval()(x)
        weights = sum(p.numel() for p in build(name).parameters())
        shapes = f"{tuple(x.shape)} -> {tuple(logits.shape)}"
        print(f"{name}: ok, {shapes}, {weights:,} parameters")


if __name__ == "__main__":
    main()
