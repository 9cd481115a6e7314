"""How large a method's perturbations of the weights really are."""

from collections.abc import Iterable

import torch
from torch import Tensor

EVERY = 17
"""Perturbations of which one is looked at: two norms of all weights cost a step of the MLP 7%. No
multiple of the two or three that some methods make in each step."""


class Sizes:
    """The mean of ‖ε‖/‖w‖ over every 17th that was noted: ε = w' − w, both norms over all tensors
    at hand.

    A method whose perturbation is never active is seen by it. The sum stays on the device, so that
    no step waits for it.
    """

    def __init__(self):
        self.total: Tensor | None = None  # () float64, of those that were looked at
        self.count = 0  # of all

    @torch.no_grad()
    def note(self, moved: Iterable[Tensor], clean: Iterable[Tensor]) -> None:
        """Note one perturbation: tensors w' beside their w, of the same shapes."""
        self.count += 1
        if self.count % EVERY != 1:
            return
        norm, norms = torch.linalg.vector_norm, []
        for a, b in zip(moved, clean, strict=True):  # one gap at a time is in memory
            norms.append(torch.stack((norm(a - b), norm(b))))
        gap, whole = norm(torch.stack(norms).double(), dim=0)  # (tensors, 2) -> (2,)
        size = gap / whole
        self.total = size if self.total is None else self.total + size

    def take(self) -> float | None:
        """Return the mean of what was noted since the last time, None if nothing was."""
        looked_at = -(-self.count // EVERY)
        mean = self.total.tolist() / looked_at if looked_at else None
        self.total, self.count = None, 0
        return mean

    def state_dict(self) -> dict:
        """Return what was noted and not taken."""
        return {"total": self.total, "count": self.count}

    def load_state_dict(self, state: dict, device: torch.device) -> None:
        """Go on from a `state_dict`."""
        self.total, self.count = state["total"], state["count"]
        if self.total is not None:
            self.total = self.total.to(device)
