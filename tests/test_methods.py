"""Training methods: each rule by hand, costs counted, own streams, the same bits after a kill."""

import copy
import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import config
import data
import methods
import models
import noises
import train as training
from config import REGIMES, Recipe, Regime, Run
from methods import METHODS
from methods.account import Account, counted_cost
from noise import is_clean, noisy_parameters
from store import checkpoints
from store.checkpoints import content_digest
from train import Stopped, teacher_of, train

CPU = torch.device("cpu")
SMALL = Recipe(epochs=3, batch_size=8, train_size=20)  # three steps in an epoch, the last of 4
PLAIN = {"noisy": (), "clean": ()}


class Little(nn.Sequential):
    """A net with everything that a method may meet, and few weights."""

    def __init__(self, shape):
        super().__init__(
            nn.Conv2d(shape.channels, 4, 5, stride=4).to(memory_format=torch.channels_last),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Flatten(),
            nn.Linear(144, 8),
            nn.ReLU(),
            nn.Linear(8, shape.classes),
        )


@pytest.fixture(autouse=True)
def little(monkeypatch):
    monkeypatch.setitem(models.ARCHITECTURES, "little", Little)


@pytest.fixture(scope="module")
def images() -> data.Dataset:
    """Noise with labels: nothing that can be learned, and all that arithmetic needs."""
    stream = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (28, 28, 28), generator=stream).to(torch.uint8)
    labels = torch.randint(0, 10, (28,), generator=stream)
    return data.Dataset(pixels[:20], labels[:20], pixels[20:], labels[20:], 10)


def available(regime: str) -> Run:
    """Return a small run, or skip where its method needs a package that is not there."""
    run = Run("little", regime, 0, SMALL)
    lacking = METHODS[run.method["name"]].lacks()
    if lacking:
        pytest.skip(f"needs the package {lacking}, which is optional")
    return run


def made(run: Run, seed: int = 1) -> methods.Method:
    """Return a method that is ready for a step."""
    teacher = training.initial_model(replace(run, seed=7)).eval() if teacher_of(run) else None
    model, stream = training.initial_model(run).train(), torch.Generator().manual_seed(seed)
    method = training.make_method(run, model, stream, teacher)
    method.make_optimizer(20)
    method.progress = 1.0
    return method


def batch(images: data.Dataset, count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    return next(data.batches(images.train_images, images.train_labels, count))


every_regime = pytest.mark.parametrize("regime", REGIMES)


# ---- Every member ----------------------------------------------------------------------------


def test_every_method_has_a_regime():
    assert {regime.method for regime in REGIMES.values()} == METHODS.keys()
    assert [Run("mlp", r, 0, Recipe(epochs=4)).run_id for r in config.DEFAULT_REGIMES] == [
        "mlp-clean-seed0-8981f7af14",  # of before there were methods
        "mlp-noisy-seed0-86437d6837",
    ]
    assert len({Run("mlp", r, 0).fingerprint for r in REGIMES}) == len(REGIMES)


@every_regime
def test_parameters_have_no_defaults_and_others_are_refused(regime, images):
    run = available(regime)
    named = dict(run.method)
    kind = METHODS[named.pop("name")]
    setting = training.initial_model(run), run.alpha_train, torch.Generator()
    with pytest.raises(TypeError):
        kind(*setting, PLAIN, **named, learning_rate=1.0)
    for name in named:
        with pytest.raises(TypeError, match=name):
            kind(*setting, PLAIN, **{k: v for k, v in named.items() if k != name})
    kind(*setting, PLAIN, **named)
    if not kind.noisy_by_alpha:
        with pytest.raises(ValueError, match="without the noise of a regime"):
            kind(setting[0], 0.5, *setting[2:], PLAIN, **named)


@every_regime
def test_a_step_leaves_the_weights_and_gives_each_a_gradient_in_its_layout(regime, images):
    method = made(available(regime))
    before = copy.deepcopy(method.model.state_dict())
    loss = method.gradients(*batch(images))
    assert loss.shape == () and loss.isfinite()
    assert is_clean(method.model)
    for name, p in method.model.named_parameters():
        assert torch.equal(p, before[name]), name
        assert p.grad is not None and p.grad.isfinite().all() and not p.grad.requires_grad
        assert p.grad.stride() == p.stride(), name  # the fused optimiser takes it for granted


@every_regime
def test_batchnorm_statistics_see_one_pass_of_a_step(regime, images):
    method = made(available(regime))
    norm = method.model.net[1]
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    method.gradients(*batch(images))
    assert norm.num_batches_tracked == 1 and norm.track_running_stats
    assert torch.allclose(norm.running_mean, 0.1 * seen[0].mean((0, 2, 3)), atol=1e-7)


@every_regime
def test_the_cost_as_counted_is_the_cost_that_the_table_has(regime, images):
    run = available(regime)
    x, y = batch(images)
    counted = counted_cost(made(run), x, y, 20)
    assert float(counted) == pytest.approx(METHODS[run.method["name"]].cost, abs=1e-12)


@every_regime
def test_killed_at_any_step_it_goes_on_to_the_same_bits(regime, images, tmp_path):
    run = available(regime)
    options = {"teacher": training.initial_model(run).eval()} if teacher_of(run) else {}
    last: list[dict] = []
    whole, history = train(run, images, CPU, save=last.append, **options)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in whole.modules())
    final = content_digest(whole.state_dict())
    for after in (1, 3, 5, 9):
        kept: list[dict] = []
        stop = iter(n == after for n in range(1, 100)).__next__
        with pytest.raises(Stopped):
            train(run, images, CPU, save=kept.append, stop=stop, **options)
        path = tmp_path / f"{run.run_id}.resume.pt"
        checkpoints.save(path, run, kept[-1])
        torch.rand(3)
        again: list[dict] = []
        state = checkpoints.load(path, run)
        model, same = train(run, images, CPU, state, again.append, **options)
        assert content_digest(model.state_dict()) == final and same == history
        assert again[-1]["realised"] == last[-1]["realised"] and again[-1]["finished"]


@every_regime
def test_going_on_from_the_last_state_changes_nothing(regime, images):
    run = available(regime)
    states: list[dict] = []
    model, _ = train(run, images, CPU, save=lambda s: states.append(copy.deepcopy(s)))
    assert [s["finished"] for s in states] == [False, False, True]
    again, _ = train(run, images, CPU, states[-1])
    assert content_digest(again.state_dict()) == content_digest(model.state_dict())


@pytest.mark.parametrize("regime", ["sam", "swa"])
def test_a_resnet_goes_on_to_the_same_bits(regime, images):
    run = Run("resnet18", regime, 0, replace(SMALL, epochs=1, batch_size=10))
    kept: list[dict] = []
    whole, _ = train(run, images, CPU)
    with pytest.raises(Stopped):
        train(run, images, CPU, save=kept.append, stop=lambda: True)
    resumed, _ = train(run, images, CPU, copy.deepcopy(kept[-1]))
    assert content_digest(resumed.state_dict()) == content_digest(whole.state_dict())


@every_regime
def test_all_methods_see_the_same_batches(regime, images, monkeypatch):
    run, seen = available(regime), {"clean": [], regime: []}
    teacher = training.initial_model(run) if teacher_of(run) else None
    real = training.train_step
    for name, order in seen.items():

        def spy(method, optimizer, x, y, order=order):
            order.extend(y.tolist())
            return real(method, optimizer, x, y)

        monkeypatch.setattr(training, "train_step", spy)
        train(replace(run, regime=name), images, CPU, teacher=teacher)
    assert seen["clean"] == seen[regime]


def test_a_regime_is_one_line(images, monkeypatch):
    line = Regime("sam", parameters={"rho": 0.2})
    monkeypatch.setitem(config.REGIMES, "far", line)
    run = Run("little", "far", 0, SMALL)
    assert run.identity["method"] == {"name": "sam", "rho": 0.2}
    _, history = train(run, images, CPU)
    assert len(history) == 3


# ---- Budget ----------------------------------------------------------------------------------


def count_steps(run: Run, images: data.Dataset) -> tuple[int, dict]:
    states: list[dict] = []
    steps = 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return False

    teacher = training.initial_model(run).eval() if teacher_of(run) else None
    train(run, images, CPU, save=states.append, stop=stop, teacher=teacher)
    return steps, states[-1]


@every_regime
def test_a_budget_buys_the_same_passes_for_every_method(regime, images):
    run = available(regime)
    run = replace(run, recipe=replace(SMALL, budget=5))
    cost = Fraction(METHODS[run.method["name"]].cost).limit_denominator(1000)
    steps, state = count_steps(run, images)
    assert steps == int(5 * 3 / cost) and state["finished"]
    assert state["epoch"] == math.ceil(steps / 3) == len(state["history"])
    # In an epoch the steps are of 8, 8 and 4 images; averaging ends with a pass for BatchNorm.
    after = 1 / 3 if run.method["name"] in ("ema", "swa") else 0
    images_seen = 20 * (steps // 3) + (0, 8, 16)[steps % 3]
    assert state["realised"]["cost"] == pytest.approx(float(cost) * images_seen / 20 + after)


def test_without_a_budget_the_epochs_are_equal_and_the_cost_is_told(images):
    for regime, cost in (("clean", 3.0), ("sam", 6.0)):
        steps, state = count_steps(Run("little", regime, 0, SMALL), images)
        assert (steps, state["realised"]["cost"]) == (9, cost)


def test_a_budget_of_plain_training_is_plain_training(images):
    run = Run("little", "clean", 0, SMALL)
    same = replace(run, recipe=replace(SMALL, budget=3, epochs=17))
    assert same.recipe.epochs == 3
    assert same.identity["recipe"]["budget"] == 3 and "budget" not in run.identity["recipe"]
    assert Run.of(same.identity).identity == same.identity
    digests = {content_digest(train(r, images, CPU)[0].state_dict()) for r in (run, same)}
    assert len(digests) == 1


@pytest.mark.parametrize("after", [1, 3, 4, 5])
def test_a_last_epoch_of_a_part_goes_on_to_the_same_bits(after, images):
    # 7 steps: all 5 of an epoch, and 2 of the next
    run = Run("little", "distillation", 0, replace(SMALL, budget=2, batch_size=4))
    teacher = training.initial_model(run).eval()
    kept: list[dict] = []
    stop = iter(n == after + 2 for n in range(1, 100)).__next__
    whole, history = train(run, images, CPU, teacher=teacher)
    assert len(history) == 2
    with pytest.raises(Stopped):
        train(run, images, CPU, save=kept.append, stop=stop, teacher=teacher)
    resumed, same = train(run, images, CPU, copy.deepcopy(kept[-1]), teacher=teacher)
    assert content_digest(resumed.state_dict()) == content_digest(whole.state_dict())
    assert same == history


# ---- Rules by hand, on L(w) = ½ wᵀHw with H = diag(1, 4) --------------------------------------

H = torch.tensor([1.0, 4.0])
W = torch.tensor([3.0, -1.0])


class Quadratic(nn.Module):
    def __init__(self, w=W):
        super().__init__()
        self.layer = nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(w)

    def forward(self, x):
        return self.layer(x)


def on_quadratic(name: str, alpha: float = 0.0, w=W, **parameters) -> methods.Method:
    stream = torch.Generator().manual_seed(3)
    method = METHODS[name](Quadratic(w), alpha, stream, PLAIN, **parameters)
    method.loss = lambda logits, y: logits.square().sum() / 2
    method.progress = 1.0
    return method


def gradient(method: methods.Method) -> torch.Tensor:
    method.gradients(H.sqrt().diag(), torch.zeros(2, dtype=torch.long))
    return method.model.layer.weight.grad[0]


def normals(count: int = 2) -> torch.Tensor:
    """What the method's stream gives first (a tensor of 16 or fewer is drawn one by one)."""
    return torch.empty(count).normal_(generator=torch.Generator().manual_seed(3))


def test_plain():
    assert gradient(on_quadratic("plain")).tolist() == [3.0, -4.0]


def test_injection():
    found = on_quadratic("injection", alpha=0.1)
    room = normals(64)[:2]  # the noise of a tensor begins a room of 64
    torch.testing.assert_close(gradient(found), H * (W + 0.1 * 2.0 * room))  # std of (3, −1) is 2
    assert found.sizes.take() == pytest.approx((0.2 * room.norm() / W.norm()).item())


def test_a_ramp_grows_with_progress():
    for progress, share in ((0.125, 0.25), (0.5, 1.0), (1.0, 1.0)):
        method = on_quadratic(
            "family_injection", family="gaussian", strength=0.4, ramp=0.5, spread=0
        )
        method.progress = progress
        assert method.strength_now() == pytest.approx(0.4 * share)
        torch.testing.assert_close(gradient(method), H * (W + 0.4 * share * 2.0 * normals(64)[:2]))


def test_a_spread_draws_each_batch_a_strength_of_its_own():
    knobs = {"family": "gaussian", "strength": 0.4, "ramp": 0, "spread": 0.5}
    method, strengths = on_quadratic("family_injection", **knobs), []
    for _ in range(400):
        strengths.append(method.strength_now())
        method.steps += 1
    found = torch.tensor(strengths)
    assert len(set(strengths)) > 380 and found.min() >= 0
    assert found.mean().item() == pytest.approx(0.4, abs=0.03)
    assert found.std().item() == pytest.approx(0.2, abs=0.03)


def test_an_antithetic_pair_cancels_what_is_odd():
    knobs = {"family": "gaussian", "strength": 0.4, "ramp": 0, "spread": 0}
    method = on_quadratic("antithetic", **knobs)
    torch.testing.assert_close(gradient(method), H * W)
    first = method.stream.get_state()
    gradient(method)
    assert not torch.equal(first, method.stream.get_state())  # fresh noise in the next step
    with pytest.raises(ValueError, match="−z means nothing"):
        on_quadratic("antithetic", **{**knobs, "family": "quantization"})


@pytest.mark.parametrize("family", noises.FAMILIES)
def test_any_family_is_straight_through(family, images):
    strength = noises.FAMILIES[family].strengths[-1]
    w = torch.tensor([3.0, -0.7])
    knobs = {"family": family, "strength": strength, "ramp": 0, "spread": 0}
    method = on_quadratic("family_injection", w=w, **knobs)
    if family == "gaussian":
        expected = w + strength * w.std(correction=0) * normals(64)[:2]
    else:
        z = method.units()["layer.weight"]
        expected = noises.perturb(w[None], family, strength, z)[0]
    torch.testing.assert_close(gradient(method), H * expected)
    assert method.sizes.take() == pytest.approx(((expected - w).norm() / w.norm()).item())
    assert method.state_dict() == {"steps": 1}


def test_families_that_cannot_are_refused():
    for wrong in (
        {"family": "gaussain"},
        {"strength": -1.0},
        {"ramp": 2.0},
        {"family": "quantization", "ramp": 0.5},
    ):
        knobs = {"family": "gaussian", "strength": 0.4, "ramp": 0, "spread": 0} | wrong
        with pytest.raises(ValueError):
            on_quadratic("family_injection", **knobs)


def test_sam():
    method = on_quadratic("sam", rho=0.5)  # g = (3, −4), of length 5
    torch.testing.assert_close(gradient(method), H * torch.tensor([3.3, -1.4]))
    assert method.sizes.take() == pytest.approx(0.5 / 10**0.5)
    method = on_quadratic("sam", rho=0.0)
    gradient(method)
    assert method.sizes.take() == 0.0  # never active, and seen


def test_asam():
    method = on_quadratic("asam", rho=0.5, eta=1.0)  # T = (4, 2), Tg = (12, −8), T²g = (48, −16)
    e = 0.5 * torch.tensor([48.0, -16.0]) / 208**0.5
    torch.testing.assert_close(gradient(method), H * (W + e))


def test_awp():
    method = on_quadratic("awp", gamma=0.1)  # along (3, −4)/5, of 0.1·√10
    e = 0.1 * 10**0.5 * torch.tensor([0.6, -0.8])
    torch.testing.assert_close(gradient(method), H * (W + e))
    assert method.sizes.take() == pytest.approx(0.1)


def test_sign_awp():
    method = on_quadratic("sign_awp", zeta=0.5, steps=2)  # g = (3, −4), then (3.75, −5)
    torch.testing.assert_close(gradient(method), H * torch.tensor([4.5, -1.5]))
    assert method.sizes.take() == pytest.approx(0.5)
    method = on_quadratic("sign_awp", w=torch.tensor([0.0, -1.0]), zeta=0.5, steps=10)
    torch.testing.assert_close(gradient(method), H * torch.tensor([0.0, -1.5]))  # 0 stays


def test_rwp():
    method = on_quadratic("rwp", gamma=0.1, mix=0.25)
    e = 0.1 * 10**0.5 * normals()  # one filter, of norm √10
    torch.testing.assert_close(gradient(method), H * (W + 0.25 * e))


def test_quantized():
    method = on_quadratic("quantized", bits=3, w=torch.tensor([3.0, -1.4]))  # multiples of 1
    torch.testing.assert_close(gradient(method), H * torch.tensor([3.0, -1.0]))


def test_randbet():
    w = torch.tensor([3.0, -0.7])
    knobs = {"rate": 0.2, "clamp": 1.5, "w_max": 1.0}
    method = on_quadratic("randbet", w=w, **knobs, threshold=6.0)  # the loss is 5.5
    z = method.units()["layer.weight"]
    rounded = noises.perturb(w[None], "bit_errors", 0.2, torch.ones_like(z))[0]
    flipped = noises.perturb(w[None], "bit_errors", 0.2, z)[0]
    assert (rounded - w).abs().max() < 3.7 / 254 * 1.01 and not torch.equal(rounded, flipped)
    expected = (H * rounded + (H * flipped).clamp(-1.5, 1.5)) / 2
    torch.testing.assert_close(gradient(method), expected)
    method.after_step()
    torch.testing.assert_close(method.model.layer.weight[0].detach(), torch.tensor([1.0, -0.7]))


def test_randbet_flips_from_the_first_loss_below_a_threshold_on():
    w = torch.tensor([3.0, -0.7])
    method = on_quadratic("randbet", w=w, rate=0.2, clamp=1.5, w_max=1.0, threshold=1.75)
    z = method.units()["layer.weight"]
    rounded = noises.perturb(w[None], "bit_errors", 0.2, torch.ones_like(z))[0]
    torch.testing.assert_close(gradient(method), H * rounded)  # 5.5: not clamped either
    assert method.state_dict() == {"steps": 1, "begun": False}
    method.model.layer.weight.data.copy_(torch.tensor([[1.0, 0.7]]))  # 1.48
    gradient(method)
    assert method.state_dict() == {"steps": 2, "begun": True}
    method.model.layer.weight.data.copy_(w)
    other = on_quadratic("randbet", w=w, rate=0.2, clamp=1.5, w_max=1.0, threshold=1.75)
    other.load_state_dict(method.state_dict())
    found = gradient(method)
    assert method.begun and not torch.allclose(found, H * rounded)
    torch.testing.assert_close(gradient(other), found)


def test_clipping():
    w = torch.tensor([3.0, -1.0])  # std 2
    method = on_quadratic("clipping", w=w, sigmas=1.25)
    assert gradient(method).tolist() == [3.0, -4.0]
    method.after_step()
    assert method.model.layer.weight[0].tolist() == [2.5, -1.0]
    assert method.sizes.take() == pytest.approx(0.5 / 10**0.5)


@pytest.mark.parametrize(
    ("name", "parameters", "mean"),
    [("ema", {"decay": 0.75}, 0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * 4), ("swa", {"start": 0.5}, 3)],
)
def test_averages(name, parameters, mean):
    method = on_quadratic(name, **parameters)
    for progress, value in ((1 / 3, 1.0), (2 / 3, 2.0), (1.0, 4.0)):
        method.progress = progress
        nn.init.constant_(method.model.layer.weight, value)
        method.after_step()
    method.finish([])
    assert method.model.layer.weight[0].tolist() == pytest.approx([mean, mean])


def test_averages_end_with_statistics_of_their_own(images):
    run = Run("little", "swa", 0, SMALL)
    model, _ = train(run, images, CPU)
    x, _ = batch(images, 20)
    first = model.net[0](model.normalize(x))  # (20, 4, 6, 6)
    norm = model.net[1]
    parts = first.split(8)
    expected = torch.stack([part.mean((0, 2, 3)) for part in parts]).mean(0)
    torch.testing.assert_close(norm.running_mean, expected, rtol=1e-4, atol=1e-5)
    assert norm.momentum == 0.1


def test_dropout(images):
    run = Run("little", "dropout", 0, SMALL)
    method, keep = made(run), 1 - run.method["rate"]
    layers = [m for m in method.model.modules() if isinstance(m, nn.Linear)]
    seen: dict[nn.Module, torch.Tensor] = {}
    given: dict[nn.Module, torch.Tensor] = {}
    layers[0].register_forward_hook(lambda m, i, o: given.update({m: i[0]}))
    method.model.net[4].register_forward_hook(lambda m, i, o: seen.update({layers[0]: o}))
    x, y = batch(images)
    first = method.stream.get_state()
    method.gradients(x.repeat(20, 1, 1, 1), y.repeat(20))
    assert not torch.equal(first, method.stream.get_state())
    before, after = seen[layers[0]], given[layers[0]]
    alive = before != 0
    kept = after[alive] != 0
    assert kept.float().mean().item() == pytest.approx(keep, abs=0.02)
    torch.testing.assert_close(after[alive][kept], before[alive][kept] / keep)
    method.model.eval()
    assert torch.equal(method.model(x), method.model(x))
    with pytest.raises(ValueError, match="no Linear layer behind"):
        on_quadratic("dropout", rate=0.3)


def test_label_smoothing():
    run = Run("little", "label_smoothing", 0, SMALL)
    method, smoothing = made(run), run.method["smoothing"]
    logits, y = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    right, wrong = -math.log(1 / (1 + math.exp(-2))), -math.log(1 / (1 + math.exp(2)))
    expected = (1 - smoothing / 2) * right + smoothing / 2 * wrong  # two classes share it
    assert method.loss(logits, y).item() == pytest.approx(expected)


class Classifier(nn.Module):
    def __init__(self, seed: int):
        super().__init__()
        self.layer = nn.Linear(3, 4, bias=False)
        stream = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.layer.weight.copy_(torch.randn(4, 3, generator=stream))

    def forward(self, x):
        return self.layer(x)


X = torch.randn(5, 3, generator=torch.Generator().manual_seed(9))
Y = torch.tensor([0, 1, 2, 3, 0])


def test_distillation():
    student, teacher = Classifier(0), Classifier(1)
    stream = torch.Generator().manual_seed(3)
    knobs = {"beta": 0.75, "temperature": 2.0}
    method = METHODS["distillation"](student, 0.0, stream, PLAIN, **knobs)
    method.teacher = teacher
    loss = method.gradients(X, Y)
    with torch.no_grad():
        s, t = student(X), teacher(X)
        one = F.one_hot(Y, 4)
        by_logit = 0.25 * (s.softmax(1) - one) + 0.75 * 2 * (
            (s / 2).softmax(1) - (t / 2).softmax(1)
        )
        expected = by_logit.T @ X / 5  # (5, 4), (5, 3) -> (4, 3)
        p, q = (t / 2).softmax(1), (s / 2).softmax(1)
        kl = (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(student.layer.weight.grad, expected)
    torch.testing.assert_close(loss.detach(), 0.25 * F.cross_entropy(s, Y) + 0.75 * 4 * kl)


def test_the_teacher_is_the_clean_run_of_the_same_seed(images):
    run = Run("little", "distillation", 3, SMALL)
    clean = teacher_of(run)
    assert clean == Run("little", "clean", 3, SMALL) and teacher_of(clean) is None
    teacher, _ = train(clean, images, CPU)
    given, history = train(run, images, CPU, teacher=teacher)
    alone, same = train(run, images, CPU)
    assert content_digest(given.state_dict()) == content_digest(alone.state_dict())
    assert history == same
    other, _ = train(replace(clean, seed=4), images, CPU)
    taught_otherwise, _ = train(run, images, CPU, teacher=other)
    assert content_digest(given.state_dict()) != content_digest(taught_otherwise.state_dict())


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_sign_ascent(alpha):
    model, stream = Classifier(0), torch.Generator().manual_seed(3)
    knobs = {"beta": 0.5, "zeta": 0.2, "steps": 2}
    method = METHODS["sign_ascent"](model, alpha, stream, PLAIN, **knobs)
    loss = method.gradients(X, Y)

    w = model.layer.weight.detach().clone().requires_grad_()
    stream, noise = torch.Generator().manual_seed(3), 0.0
    if alpha:
        room = torch.empty(64).normal_(generator=stream)[:12].view(4, 3)
        noise = alpha * w.detach().std(correction=0) * room
    z = torch.empty(4, 3).normal_(generator=stream)

    def kl(far: torch.Tensor) -> torch.Tensor:
        p, q = (X @ w.T).softmax(1), (X @ far.T).softmax(1)
        return (p * (p / q).log()).sum(1).mean()

    far = (w + 1e-3 * w.abs() * z).detach()
    for _ in range(2):
        far.requires_grad_()
        (uphill,) = torch.autograd.grad(kl(far), far)
        far = (far + 0.1 * w.abs() * uphill.sign()).detach()
    gap = far - w.detach()
    assert gap.abs().max() > 0
    expected = F.cross_entropy(X @ (w + noise).T, Y) + 0.5 * kl(w + gap)
    (slope,) = torch.autograd.grad(expected, w)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(model.layer.weight.grad, slope, rtol=1e-4, atol=1e-6)
    assert method.sizes.count == (2 if alpha else 1)


def test_ivon():
    pytest.importorskip("ivon", reason="needs the package ivon-opt, which is optional")
    knobs = {"lr": 0.1, "ess": 1, "hess_init": 0.5, "beta1": 0.9, "beta2": 0.9, "delta": 0.01}
    method = on_quadratic("ivon", **knobs)
    optimizer = method.make_optimizer(50)
    torch.manual_seed(0)
    expected_global = torch.rand(3)
    torch.manual_seed(0)
    found = gradient(method).clone()
    assert torch.equal(torch.rand(3), expected_global)  # its draws are its own
    sigma = (50 * 0.51) ** -0.5
    e = sigma * normals()
    torch.testing.assert_close(found, H * (W + e))
    optimizer.step()
    f = 50 * 0.51 * e * found
    h = 0.9 * 0.5 + 0.1 * f + 0.5 * 0.1**2 * (0.5 - f) ** 2 / 0.51
    w = W - 0.1 * 0.51 * (found + 0.01 * W) / (h + 0.01)  # 0.1·g/(1 − 0.9) is g
    torch.testing.assert_close(method.model.layer.weight[0].detach(), w)
    assert method.state_dict() == {"current_step": 1}


# ---- Beside a library ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters"), [("sam", {"rho": 0.3}), ("asam", {"rho": 0.7, "eta": 0.0})]
)
def test_a_step_is_that_of_pytorch_optimizer(name, parameters):
    library = pytest.importorskip("pytorch_optimizer", reason="needs the package pytorch-optimizer")
    torch.manual_seed(0)
    mine = nn.Sequential(nn.Linear(3, 8, bias=False), nn.Tanh(), nn.Linear(8, 4, bias=False))
    theirs = copy.deepcopy(mine)
    method = METHODS[name](mine, 0.0, torch.Generator(), PLAIN, **parameters)
    optimizer = torch.optim.SGD(mine.parameters(), lr=0.5)
    method.gradients(X, Y)
    optimizer.step()

    adaptive = name == "asam"
    rival = library.SAM(
        theirs.parameters(), torch.optim.SGD, rho=parameters["rho"], adaptive=adaptive, lr=0.5
    )

    def closure():
        rival.zero_grad()
        loss = F.cross_entropy(theirs(X), Y)
        loss.backward()
        return loss

    closure()
    rival.step(closure)
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


# ---- What is told ----------------------------------------------------------------------------


def test_sizes_and_cost_stand_beside_the_history(images):
    states: list[dict] = []
    train(Run("little", "noisy", 0, SMALL), images, CPU, save=states.append)
    model = training.initial_model(Run("little", "noisy", 0))
    noisy = noisy_parameters(model).values()
    spread = sum(p.numel() * p.var(correction=0).item() for p in noisy) ** 0.5
    whole = sum(p.square().sum().item() for p in noisy) ** 0.5
    sizes = states[-1]["realised"]["sizes"]
    assert len(sizes) == 3 and all(isinstance(s, float) for s in sizes)
    assert sizes == pytest.approx([0.7 * spread / whole] * 3, rel=0.1)
    assert states[-1]["realised"]["cost"] == 3.0
    train(Run("little", "clean", 0, SMALL), images, CPU, save=states.append)
    assert "sizes" not in states[-1]["realised"] and states[-1]["realised"]["cost"] == 3.0


def test_a_forward_pass_is_a_third_and_a_backward_pass_two_thirds(images):
    method = made(Run("little", "clean", 0, SMALL))
    x, y = batch(images)
    account = Account(method)
    with torch.no_grad():
        method.model(x)
    assert account.spent(8) == Fraction(1, 3)
    method.loss(method.model(x), y).backward()
    assert account.spent(8) == Fraction(4, 3)
    account.close()
    method.model(x)
    assert account.spent(8) == Fraction(4, 3)
