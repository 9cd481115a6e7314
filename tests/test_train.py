"""Training: paired streams, noise at zero strength, resuming, the declared recipe version."""

import copy
import itertools
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import config
import models
import train as module
from config import DEFAULT_REGIMES, REGIMES, Recipe, Run
from data import Dataset, batches
from store.checkpoints import content_digest
from train import Diverged, Stopped, initial_model, train

CPU = torch.device("cpu")
TINY = Recipe(epochs=2, batch_size=16, peak_lr=3e-3, weight_decay=0.01, alpha_train=0.5)
FAST = ["mlp", "cnn", "vit"]  # a ResNet-18 step takes as long as a whole tiny run of these
RESUMED = [*FAST, "resnet18"]  # batch norm has running statistics to keep


@pytest.fixture(scope="session")
def shapes() -> Dataset:
    """A made-up dataset that can be learned: class k is bright in its own two rows."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(128) % 10
    images = torch.randint(0, 100, (128, 28, 28), generator=generator)
    for image, label in zip(images, labels):
        image[2 * label + 2 : 2 * label + 4] += 150
    images = images.to(torch.uint8)
    return Dataset(images[:96], labels[:96], images[96:], labels[96:], 10)


def weights(run: Run, dataset: Dataset, **options) -> str:
    model, _ = train(run, dataset, CPU, **options)
    return content_digest(model.state_dict())


@pytest.mark.parametrize("name", FAST)
def test_the_same_run_gives_the_same_weights_whatever_ran_before(name, shapes):
    run = Run(name, "noisy", 0, TINY)
    first = weights(run, shapes)
    torch.rand(17)
    torch.manual_seed(123)
    weights(Run("mlp", "noisy", 5, TINY), shapes)
    assert weights(run, shapes) == first
    assert weights(replace(run, seed=1), shapes) != first


@pytest.mark.parametrize("name", models.DEFAULT_ARCHITECTURES)
def test_noisy_training_at_alpha_zero_is_clean_training(name, shapes):
    small = replace(
        shapes, train_images=shapes.train_images[:32], train_labels=shapes.train_labels[:32]
    )
    clean = weights(Run(name, "clean", 0, TINY), small)
    assert weights(Run(name, "noisy", 0, replace(TINY, alpha_train=0.0)), small) == clean
    assert weights(Run(name, "noisy", 0, replace(TINY, alpha_train=0.1)), small) != clean


@pytest.mark.parametrize("name", sorted(models.ARCHITECTURES.keys() - {"vit_b_16"}))
def test_regimes_share_initial_weights(name):
    digests = {content_digest(initial_model(Run(name, r, 3)).state_dict()) for r in REGIMES}
    assert len(digests) == 1
    assert digests != {content_digest(initial_model(Run(name, "clean", 4)).state_dict())}


def test_building_a_model_leaves_other_streams_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    initial_model(Run("mlp", "clean", 0))
    assert torch.equal(torch.rand(3), expected)


def test_regimes_share_batch_order(shapes, monkeypatch):
    seen: dict[str, list[int]] = {}

    real = module.train_step
    for regime in DEFAULT_REGIMES:
        order = seen.setdefault(regime, [])

        def spy(method, optimizer, x, y, order=order):
            order.extend(y.tolist())
            return real(method, optimizer, x, y)

        monkeypatch.setattr(module, "train_step", spy)
        train(Run("mlp", regime, 0, TINY), shapes, CPU)
    assert seen["clean"] == seen["noisy"]
    first, second = seen["clean"][:96], seen["clean"][96:]
    assert first != second  # a new order in every epoch


def test_noise_is_fresh_in_every_batch_and_the_optimiser_steps_the_clean_weights(
    shapes, monkeypatch
):

    real, gaps = module.train_step, []

    def spy(method, optimizer, x, y):
        model = method.model
        clean = model.net[2].weight.detach().clone()
        hook = model.net[2].register_forward_hook(
            lambda module, *_: gaps.append(module.weight.detach() - clean)
        )
        with torch.no_grad():
            before = clean.clone()
        loss = real(method, optimizer, x, y)
        hook.remove()
        moved = (model.net[2].weight - before).abs().max()
        assert moved < 0.05  # a step of the optimiser, without the noise
        return loss

    monkeypatch.setattr(module, "train_step", spy)
    train(Run("mlp", "noisy", 0, replace(TINY, epochs=1, alpha_train=0.5)), shapes, CPU)
    assert len(gaps) == 6
    assert all(0.4 < (gap.std() / (1 / 512**0.5 / 3**0.5)).item() < 0.7 for gap in gaps)
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(gaps))


@pytest.mark.slow
@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("regime", DEFAULT_REGIMES)
def test_going_on_from_any_epoch_gives_the_same_weights(name, regime, shapes):
    run = Run(name, regime, 0, replace(TINY, epochs=3))
    states: list[dict] = []
    final = weights(run, shapes, save=lambda state: states.append(copy.deepcopy(state)))
    assert [state["epoch"] for state in states] == [1, 2, 3]
    for state in states:
        torch.rand(5)
        assert weights(run, shapes, state=state) == final


@pytest.mark.parametrize(
    ("name", "after"), [*itertools.product(FAST, [1, 5, 6, 7, 11]), ("resnet18", 7)]
)
def test_stopping_inside_an_epoch_and_going_on_gives_the_same_weights(name, after, shapes):
    run = Run(name, "noisy", 0, TINY)
    final, history = train(run, shapes, CPU)
    states: list[dict] = []
    steps = iter(range(1, 100))
    with pytest.raises(Stopped):
        train(
            run,
            shapes,
            CPU,
            save=lambda state: states.append(copy.deepcopy(state)),
            stop=lambda: next(steps) == after,
        )
    model, again = train(run, shapes, CPU, state=states[-1])
    assert content_digest(model.state_dict()) == content_digest(final.state_dict())
    assert again == history


WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "unique"}  # for the device


@pytest.mark.parametrize("name", models.DEFAULT_ARCHITECTURES)
def test_only_the_end_of_an_epoch_waits_for_the_device(name, shapes):
    """On a GPU an operation with a result for Python lets it run dry: none within an epoch."""
    calls: list[str] = []

    class Spy(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            calls.append(function.overloadpacket.__name__)
            return function(*args, **(kwargs or {}))

    steps: list[int] = []  # the number of calls after each step

    def stop() -> bool:
        steps.append(len(calls))
        return False

    with Spy():
        train(Run(name, "noisy", 0, replace(TINY, batch_size=32)), shapes, CPU, stop=stop)
    assert len(steps) == 6 and "_fused_adamw_" in calls
    for epoch in (steps[:3], steps[3:]):
        assert not WAITS & set(calls[epoch[0] : epoch[-1]])
    assert calls[steps[0] :].count("_local_scalar_dense") == 2 * 2  # an epoch's loss, and accuracy


def test_it_learns(shapes):
    _, history = train(Run("mlp", "clean", 0, replace(TINY, epochs=8)), shapes, CPU)
    assert len(history) == 8
    assert history[-1] < 0.5 < history[0]


def test_a_loss_that_is_not_finite_is_said(shapes):
    with pytest.raises(Diverged, match="epoch 1"):
        train(Run("mlp", "clean", 0, replace(TINY, peak_lr=1e30)), shapes, CPU)


GOLDEN_VERSION = 1
GOLDEN = {  # mean training loss of each epoch, and the sum of |W| afterwards
    ("mlp", "clean"): ([1.53036931, 0.02236073], 16578.620),
    ("mlp", "noisy"): ([1.75087431, 0.07604147], 16499.458),
    ("cnn", "noisy"): ([2.07037751, 0.86057771], 4589.905),
    ("vit", "noisy"): ([2.30623905, 2.27003622], 17434.393),
    ("resnet18", "noisy"): ([2.70083034], 225018.309),
}
LENGTHS = {"resnet18": (32, 1)}  # images and epochs: batch norm soon magnifies rounding


@pytest.mark.parametrize(("name", "regime"), GOLDEN)
def test_training_arithmetic_is_that_of_the_declared_recipe_version(name, regime, shapes):
    """If this fails you changed what training computes: raise config.RECIPE_VERSION, and then
    GOLDEN_VERSION and the numbers here. The tolerance covers rounding between processors."""
    assert config.RECIPE_VERSION == GOLDEN_VERSION
    count, epochs = LENGTHS.get(name, (96, 2))
    images, labels = shapes.train_images[:count], shapes.train_labels[:count]
    part = replace(shapes, train_images=images, train_labels=labels)
    model, history = train(Run(name, regime, 0, replace(TINY, epochs=epochs)), part, CPU)
    size = sum(p.detach().abs().sum(dtype=torch.float64).item() for p in model.parameters())
    print(f"({name!r}, {regime!r}): ({history}, {size:.3f})")
    losses, expected = GOLDEN[name, regime]
    assert history == pytest.approx(losses, rel=2e-3)
    assert size == pytest.approx(expected, rel=2e-4)


def test_after_each_epoch_the_accuracy_of_the_clean_weights_is_known(shapes):
    states = []
    model, _ = train(Run("mlp", "noisy", 0, TINY), shapes, CPU, save=states.append)
    x, y = next(batches(shapes.train_images, shapes.train_labels, 96))
    with torch.no_grad():
        right = (model(x).argmax(1) == y).float().mean()
    assert [state["epoch"] for state in states] == [1, 2]
    assert states[-1]["accuracy"] == pytest.approx(float(right)) and states[0]["accuracy"] > 0
