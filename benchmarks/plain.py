"""The yardstick: the experiment as one would write it first. Small, honest, and not tuned.

torchvision's dataset with a transform for every image, `DataLoader`, Adam, fresh noise tensors with
`.item()` for every weight, added and then subtracted again; one process, all cores.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms

import models
from machine import fast_layers
from noise import noisy_parameters


def make_loader(data_dir: Path, train: bool) -> DataLoader:
    """Return torchvision's MNIST in batches of 128, three channels, pixels in [0, 1]."""
    transform = transforms.Compose([transforms.Grayscale(3), transforms.ToTensor()])
    dataset = torchvision.datasets.MNIST(str(data_dir), train=train, transform=transform)
    return DataLoader(dataset, batch_size=128, shuffle=train)


def build(name: str) -> nn.Module:
    """Return the same architecture from PyTorch's own layers."""
    model, own = models.build(name), {fast: plain for plain, fast in fast_layers.FASTER.items()}
    for module in model.modules():
        module.__class__ = own.get(type(module), type(module))
    return model.to(memory_format=torch.contiguous_format)


def add_noise(model: nn.Module, alpha: float) -> list[tuple[Tensor, Tensor]]:
    """Add fresh noise to every weight; return what `remove_noise` needs."""
    added = []
    with torch.no_grad():
        for parameter in noisy_parameters(model).values():
            noise = torch.randn_like(parameter) * (alpha * parameter.std().item())
            parameter.add_(noise)
            added.append((parameter, noise))
    return added


def remove_noise(added: list[tuple[Tensor, Tensor]]) -> None:
    """Subtract the noise again (not exact, as is usual)."""
    with torch.no_grad():
        for parameter, noise in added:
            parameter.sub_(noise)


def steps(name: str, alpha: float, data_dir: Path, device: torch.device) -> Iterator[int]:
    """Train, and yield the number of images after each step."""
    model = build(name).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    while True:
        for x, y in make_loader(data_dir, train=True):
            added = add_noise(model, alpha) if alpha else []
            loss = F.cross_entropy(model(x.to(device)), y.to(device))
            optimizer.zero_grad()
            loss.backward()
            remove_noise(added)
            optimizer.step()
            yield len(y)


def passes(name: str, data_dir: Path, device: torch.device) -> Iterator[int]:
    """Measure the accuracy under noise, and yield the number of images after each batch."""
    model = build(name).to(device).eval()
    while True:
        added, correct = add_noise(model, 0.1), 0
        for x, y in make_loader(data_dir, train=False):
            with torch.no_grad():
                correct += (model(x.to(device)).argmax(1) == y.to(device)).sum().item()
            yield len(y)
        remove_noise(added)
