"""What training costs and how far it moves the weights: counted by hooks, not declared."""

from fractions import Fraction

import torch
from torch import Tensor, nn

from methods.method import Method

FORWARD, BACKWARD = 1, 2
"""Thirds of a plain step, which passes every image forward (1/3) and backward (2/3)."""


class Account:
    """Counts the images that pass the model, and the teacher where there is one.

    Put on before the first step, taken off by `close`. Everything passes through the models'
    `__call__`, also what a method does beside its gradients.
    """

    def __init__(self, method: Method):
        self.method = method
        self.forward = self.backward = 0  # images
        self.sizes: list[float | None] = []  # of each epoch
        models = [m for m in (method.model, method.teacher) if m is not None]
        self.device = next(method.model.parameters()).device
        self.hooks = [m.register_forward_hook(self._passed) for m in models]

    def _passed(self, model: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> None:
        images = len(inputs[0])
        self.forward += images
        if logits.requires_grad:
            logits.register_hook(lambda gradient: self._returned(images))

    def _returned(self, images: int) -> None:
        self.backward += images

    def spent(self, images: int) -> Fraction:
        """Return the cost so far, in units of plain training on so many images."""
        return Fraction(FORWARD * self.forward + BACKWARD * self.backward, 3 * images)

    def close_epoch(self) -> None:
        """Note the realised size of the epoch's perturbations; a device is waited for."""
        self.sizes.append(self.method.sizes.take())

    def realised(self, images: int) -> dict:
        """Return what stands beside the history, for so many training images: `cost` in epochs of
        plain training and, where weights were perturbed, `sizes`, the mean ‖ε‖/‖w‖ of each epoch
        (None for one without)."""
        perturbed = any(size is not None for size in self.sizes)
        cost = float(self.spent(images))
        return {"cost": cost, **({"sizes": list(self.sizes)} if perturbed else {})}

    def state_dict(self) -> dict:
        """Return the account as it stands, within an epoch too."""
        passed = {"forward": self.forward, "backward": self.backward}
        return {**passed, "sizes": list(self.sizes), "noted": self.method.sizes.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a `state_dict`; a file of before has none, and counting begins here."""
        if state:
            self.forward, self.backward = state["forward"], state["backward"]
            self.sizes = list(state["sizes"])
            self.method.sizes.load_state_dict(state["noted"], self.device)

    def close(self) -> None:
        """Count no more."""
        for hook in self.hooks:
            hook.remove()


def counted_cost(method: Method, x: Tensor, y: Tensor, images: int) -> Fraction:
    """Return the cost of a step, in units of a plain one, by taking its gradients once.

    Args:
        method: a fresh one for a model that is not needed any more.
        x, y: a few images (B, C, H, W) and labels (B,): at least two, for BatchNorm.
        images: in the training set.
    """
    devices = [x.device] if x.device.type == "cuda" else []
    account = Account(method)
    with torch.random.fork_rng(devices=devices):
        method.make_optimizer(images)
        method.progress = 1.0
        method.model.train()
        method.gradients(x, y)
    account.close()
    return account.spent(len(y))
