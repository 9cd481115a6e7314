"""The sanity check can fail: each of its checks, on something that is wrong."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn

import models
import sanity_check
from noise import weight_noise


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return models.build("mlp").eval()


IMAGES = torch.arange(20 * 784).reshape(20, 28, 28).remainder(251).byte()
LABELS = torch.arange(20) % 10


def test_good_things_pass(model):
    sanity_check.check_shapes()
    sanity_check.check_noise(model, IMAGES, LABELS)
    sanity_check.check_chance(0.11)
    sanity_check.check_drops(0.010, 0.019)


def test_a_wrong_shape():
    def build(name):
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 7))

    with pytest.raises(sanity_check.Insane, match=r"mlp gives logits \(2, 7\)"):
        sanity_check.check_shapes(build)


def test_noise_at_alpha_zero(model):
    @contextmanager
    def never_zero(model, alpha, generator=None):
        with weight_noise(model, alpha + 1.0, generator):
            yield

    with pytest.raises(sanity_check.Insane, match="α = 0 changes"):
        sanity_check.check_noise(model, IMAGES, LABELS, never_zero)


def test_noise_that_is_missing(model):
    @contextmanager
    def nothing(model, alpha, generator=None):
        yield

    with pytest.raises(sanity_check.Insane, match="changes no weight"):
        sanity_check.check_noise(model, IMAGES, LABELS, nothing)


def test_weights_restored_by_subtraction(model):
    @contextmanager
    def add_then_subtract(model, alpha, generator=None):
        noise = [alpha * 0.1 * torch.randn_like(p) for p in model.parameters()]
        with torch.no_grad():
            for p, e in zip(model.parameters(), noise):
                p += e
        yield
        with torch.no_grad():
            for p, e in zip(model.parameters(), noise):
                p -= e

    with pytest.raises(sanity_check.Insane, match="bit for bit"):
        sanity_check.check_noise(model, IMAGES, LABELS, add_then_subtract)


@pytest.mark.parametrize("accuracy", [0.0, 0.04, 0.21, 0.97, float("nan")])
def test_accuracy_that_enormous_noise_does_not_bring_to_chance(accuracy):
    with pytest.raises(sanity_check.Insane, match="not chance"):
        sanity_check.check_chance(accuracy)


def test_noisy_training_that_clearly_hurts():
    with pytest.raises(sanity_check.Insane, match="clearly worse"):
        sanity_check.check_drops(clean=0.01, noisy=0.03)
