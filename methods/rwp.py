"""Random weight perturbation (Li et al., "Revisiting random weight perturbation for efficiently
improving generalization", TMLR 2024)."""

import torch
from torch import Tensor

from methods.method import Method
from methods.passes import frozen_statistics, gradients_at, leave, scaled, summed


class RWP(Method):
    """g = (1 − λ)·∇L(w) + λ·∇L(w + ε), ε ~ N(0, (γ·‖filter‖)²) for each filter (m-RWP).

    A filter is a row of dimension 0 of a weight; of a parameter of one dimension, an element: its
    noise is γ·|w|, where their code takes the norm of the whole vector, and so has more of it.
    γ multiplies a norm: the noise relative to the spread of the weights is about γ·√fan_in, so
    that wide layers have more of it. The paper takes a second batch for the second gradient; here
    both are of the same one, so that every method has the same images in a step.

    Parameters:
        gamma: γ; published 0.01.
        mix: λ; published 0.5.
    """

    cost = 2.0

    def __init__(self, *setting, gamma, mix, **rest):
        super().__init__(*setting, **rest)
        if gamma < 0 or not 0 <= mix <= 1:
            raise ValueError("takes a gamma ≥ 0 and a mix from 0 to 1")
        self.gamma, self.mix = gamma, mix

    @torch.no_grad()
    def perturbed(self, w: Tensor) -> Tensor:
        """Return w + ε with fresh ε."""
        norms = w.flatten(1).norm(dim=1) if w.dim() > 1 else w.abs()  # (O, ...) -> (O,)
        z = torch.empty_like(w).normal_(generator=self.stream)
        return w + z * (self.gamma * norms.view(-1, *[1] * (w.dim() - 1)))

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        own = dict(self.model.named_parameters())
        loss, first = gradients_at(self.model, {}, x, lambda logits: self.loss(logits, y))
        moved = {name: self.perturbed(p) for name, p in own.items()}
        self.sizes.note(moved.values(), own.values())
        with frozen_statistics(self.model):
            _, second = gradients_at(self.model, moved, x, lambda logits: self.loss(logits, y))
        leave(self.model, summed(scaled(first, 1 - self.mix), scaled(second, self.mix)))
        return loss
