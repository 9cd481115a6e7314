"""Where one model breaks: in words, for a line on the terminal."""

import pytest
import torch
from torch import nn

from evaluate import sweep
from probes.breaking import find_break


@pytest.fixture
def scale():
    """A model whose accuracy is what its one weight makes of it: see `measured`."""
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -1.0]]))
    return model


def measured(at: float, to: float = 0.0):
    """Return a measure that falls from 1 to `to` where the weights have moved by `at` of them."""

    def measure(model: nn.Module) -> tuple[int, int, float]:
        moved = (model.weight - torch.tensor([[1.0, -1.0]])).norm().item() / 2**0.5
        return (1000 if moved < at else round(1000 * to)), 1000, 0.0

    return measure


@pytest.mark.parametrize(
    ("at", "to", "said"),
    [
        (1e-9, 0.1, "broken below α = 0.1"),
        (1e9, 0.1, "not halfway to chance at α = "),
        (1.0, 0.1, "halfway to chance at α = "),
        (1.0, 0.6, "not halfway to chance at α = "),
    ],
)
def test_the_break_in_words(scale, at, to, said):
    before = scale.weight.clone()
    assert find_break(scale, measured(at, to), sweep, 3, 0, 0.1).startswith(said)
    assert torch.equal(scale.weight, before)


def test_it_is_where_the_mean_over_draws_crosses(scale):
    near, far = (find_break(scale, measured(at), sweep, 5, 0, 0.1) for at in (0.5, 1.5))
    assert float(near.split("= ")[1]) < float(far.split("= ")[1])
