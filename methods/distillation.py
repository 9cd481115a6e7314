"""Distillation into a noisy student (Hinton et al., arXiv:1503.02531; under weight noise Zhou et
al., "Noisy machines", arXiv:2001.04974)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.injection import Injection


class Distillation(Injection):
    """(1 − β)·CE + β·T²·KL(teacher ‖ student at w + ε), both softened by T.

    The teacher is the clean run of the same architecture, seed and recipe, without noise and in
    evaluation mode. Its forward pass is in the cost of a step; its own training is not.

    Parameters:
        beta: β; published 1.
        temperature: T; published 1 (Hinton: 1 to 20).
    """

    cost = 4 / 3
    taught = True

    def __init__(self, *setting, beta, temperature, **rest):
        super().__init__(*setting, **rest)
        if not 0 <= beta <= 1 or temperature <= 0:
            raise ValueError("takes a beta from 0 to 1 and a temperature > 0")
        self.beta, self.temperature = beta, temperature

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            self.taught_logits = self.teacher(x)  # (B, C, H, W) -> (B, classes)
        return super().gradients(x, y)

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        p, q = (F.log_softmax(a / self.temperature, 1) for a in (self.taught_logits, logits))
        soft = F.kl_div(q, p, reduction="batchmean", log_target=True)
        hard = F.cross_entropy(logits, y)
        return (1 - self.beta) * hard + self.beta * self.temperature**2 * soft
