"""Passes at other weights than the model's own, which stay where they are."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase

Gradients = dict[str, Tensor]


def gradients_at(
    model: nn.Module, moved: Mapping[str, Tensor], x: Tensor, loss_of: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Gradients]:
    """Return the loss and its gradients at weights of which some are moved.

    Nothing is written to the model: what need not be put back is put back exactly.

    Args:
        model: its own weights are used where none are given.
        moved: other values, by the names of `named_parameters`.
        x: images (B, C, H, W).
        loss_of: from logits (B, classes) to a loss, ().

    Returns:
        The loss, (), and its gradients with respect to the values that were used, by name, each
        with the shape and memory format of its parameter; without parameters that have none.
    """
    leaves = {
        name: in_format(moved.get(name, p).detach(), p).requires_grad_(p.requires_grad)
        for name, p in model.named_parameters()
    }
    loss = loss_of(functional_call(model, leaves, (x,)))
    loss.backward()
    return loss.detach(), {n: leaf.grad for n, leaf in leaves.items() if leaf.grad is not None}


def in_format(value: Tensor, like: Tensor) -> Tensor:
    """Return a tensor with the strides of another of its shape: gradients then have them too, which
    the fused optimiser takes for granted."""
    return value if value.stride() == like.stride() else torch.empty_like(like).copy_(value)


def leave(model: nn.Module, gradients: Mapping[str, Tensor]) -> None:
    """Leave gradients in the parameters, for the optimiser."""
    for name, p in model.named_parameters():
        p.grad = gradients.get(name)


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Within this context BatchNorm normalises by the batch, as in training, and its running
    statistics stay as they are: for every pass of a step but one.

    A momentum of 0 would still count batches, and turn statistics into NaN with one bad batch.
    """
    norms = [m for m in model.modules() if isinstance(m, _NormBase) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@torch.no_grad()
def scaled(values: Mapping[str, Tensor], factor: float | Tensor) -> Gradients:
    """Return every tensor times a factor."""
    return {name: value * factor for name, value in values.items()}


@torch.no_grad()
def summed(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Gradients:
    """Return the sums of tensors of the same names."""
    return {name: value + b[name] for name, value in a.items()}
