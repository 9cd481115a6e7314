"""Training without noise."""

from torch import Tensor

from methods.method import Method


class Plain(Method):
    """g = ∇L(w)."""

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        loss = self.loss(self.model(x), y)  # (B, C, H, W) -> (B, classes) -> ()
        loss.backward()
        return loss
