"""Measuring: counts, common random numbers, resuming, checkpoints found."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import config
import data
import evaluate
import models
import noise
import noises
from config import Recipe, Run
from noise import noisy_parameters, unit_noise
from probes.saved import find_models
from store import checkpoints
from store.checkpoints import content_digest

POINTS = [(0.0, 0, 1), *((alpha, draw, 1) for draw in range(3) for alpha in (0.1, 0.5, 2.0))]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return models.build("mlp").eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randint(0, 256, (600, 28, 28), generator=torch.Generator().manual_seed(0)).byte()


@pytest.fixture(scope="module")
def labels() -> torch.Tensor:
    return torch.arange(600) % 10


def rows(model, images, labels, points=POINTS, seed=0, noise_seed=0) -> list[list]:
    measure = functools.partial(evaluate.measure, images=images, labels=labels)
    return list(evaluate.sweep(model, measure, points, noise_seed, seed))


def test_counts_and_losses_are_those_of_a_plain_loop(model, images, labels):
    correct, loss = 0, 0.0
    for image, label in zip(images, labels, strict=True):
        x = (image.float() / 255).expand(1, 3, 28, 28)
        with torch.inference_mode():
            logits = model(x)
        correct += int(logits.argmax() == label)
        loss += F.cross_entropy(logits.double(), label[None]).item()
    got, count, total = evaluate.measure(model, images, labels)
    assert (got, count) == (correct, 600)
    assert total == pytest.approx(loss, rel=1e-5)


def test_a_measurement_does_not_depend_on_the_others(model, images, labels):
    whole = {tuple(row[:3]): row for row in rows(model, images, labels)}
    assert len(whole) == len(POINTS)
    torch.rand(3)
    assert rows(model, images, labels, POINTS[::-1]) == [whole[p] for p in POINTS[::-1]]
    for point in POINTS[1:4]:
        assert rows(model, images, labels, [point]) == [whole[point]]


def test_seeds_and_draws_are_independent(model, images, labels):
    def losses(**options) -> list[float]:
        return [row[5] for row in rows(model, images, labels, POINTS[1:], **options)]

    first = losses()
    assert len(set(first)) == len(first)
    assert not set(first) & set(losses(seed=1))
    assert not set(first) & set(losses(noise_seed=1))


def test_the_noise_is_that_of_the_definition(model, images, labels):
    [row] = rows(model, images, labels, [(0.5, 2, 1)], seed=7, noise_seed=3)
    copy = models.build("mlp").eval()
    copy.load_state_dict(model.state_dict())
    unit = unit_noise(noisy_parameters(copy), 3, 7, 2)
    with torch.no_grad():
        for name, parameter in noisy_parameters(copy).items():
            parameter += 0.5 * parameter.std(correction=0) * unit[name]
    correct, _, loss = evaluate.measure(copy, images, labels)
    assert row[:5] == [0.5, 2, 1, correct, 600]
    assert row[5] == pytest.approx(loss, rel=1e-6)


def test_the_model_and_the_random_streams_are_left_as_they_were(model, images, labels):
    before = content_digest(model.state_dict())
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    rows(model, images, labels)
    assert torch.equal(torch.rand(2), expected)
    assert content_digest(model.state_dict()) == before


def test_both_signs_of_a_draw_are_mirror_images(images, labels):
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 10, bias=False))
    plus, minus = rows(linear, images, labels, [(0.3, 1, 1), (0.3, 1, -1)])
    assert (plus[2], minus[2]) == (1, -1)
    assert plus[5] != minus[5]


def test_what_is_no_family_or_no_draw_is_refused_in_a_sentence(model, images, labels):
    def measure(model):
        raise AssertionError("nothing is measured")

    for draw in (-1, 0.5):
        with pytest.raises(ValueError, match=f"draw {draw}: draws are numbered 0, 1, 2"):
            list(evaluate.sweep(model, measure, [(0.1, draw, 1)], 0, 0))
    with pytest.raises(ValueError, match="'gausian' is no family of noise: gaussian"):
        list(evaluate.sweep(model, measure, POINTS, 0, 0, family="gausian"))


@pytest.mark.parametrize(
    ("registry", "name", "run"),
    [
        (models.ARCHITECTURES, "own", Run("own", "clean", 0)),
        (config.REGIMES, "own", Run("mlp", "own", 0)),
        (data.DATASETS, "own", Run("mlp", "clean", 0, Recipe(dataset="own"))),
    ],
)
def test_a_checkpoint_of_what_is_not_registered_is_left_out_in_a_sentence(
    monkeypatch, tmp_path, capsys, model, registry, name, run
):
    monkeypatch.setitem(registry, name, next(iter(registry.values())))
    path = checkpoints.final_path(tmp_path, run)
    checkpoints.save(path, run, checkpoints.finished(model, [0.1], {}))
    monkeypatch.delitem(registry, name)
    assert not list(find_models(tmp_path, [run.architecture]))
    said = capsys.readouterr().err
    assert f"left out: {path}: " in said and "'own'" in said and said.count("\n") == 1
    assert "is not registered here" in said or "unknown dataset" in said


def test_logits_that_are_not_finite_are_wrong_answers(images, labels):
    class Broken(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 10), math.nan)

    assert evaluate.measure(Broken(), images, labels) == (0, 600, None)


@pytest.mark.parametrize("name", models.DEFAULT_ARCHITECTURES)
def test_enormous_noise_leaves_chance(name, mnist):
    torch.manual_seed(0)
    model = models.build(name).eval()
    for parameter in model.parameters():
        if parameter.std() == 0:
            nn.init.normal_(parameter, std=0.02)
    points = [(20.0, draw, 1) for draw in range(4)]
    part = slice(0, 500)
    found = rows(model, mnist.test_images[part], mnist.test_labels[part], points)
    assert 0.02 < sum(row[3] / row[4] for row in found) / 4 < 0.25


def test_the_command_says_what_to_run_where_there_is_nothing(command, tmp_path):
    (tmp_path / "ckpt").mkdir()
    done = command("evaluate.py")
    assert done.returncode == 0, done.stderr
    assert "python train.py" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mlpp"], "ARCH: 'mlpp' is none of"),
        (["/x"], "ARCH: '/x' is none of"),
        (["--draws", "0"], "--draws: takes a whole number"),
        (["--by-layer", "--alpha", "nan"], "--alpha: takes a finite number"),
        (["--alpha", "0.3"], "--alpha: is for --by-layer"),
        ([], "--checkpoint-dir: takes a folder of checkpoints"),
        (["--checkpoint", "README.md"], "--checkpoint: takes a finished run's file"),
    ],
)
def test_wrong_input_is_said_in_one_line(words, said, command):
    done = command("evaluate.py", *words)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert said in done.stderr


@pytest.mark.slow
def test_training_and_evaluating_from_the_command_line(command, tmp_path, mnist):
    done = command("train.py")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "ckpt").glob("*.pt"))) == 2
    (tmp_path / "ckpt" / "mlp-foreign.pt").write_bytes(b"not a checkpoint")
    done = command("evaluate.py", "--draws", "2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split("-seed")[0] for line in lines] == ["mlp-clean", "mlp-noisy"]
    for line in lines:
        assert "acc@0 0.9" in line
        assert "acc@0.1 0.9" in line
        assert "drop" in line
        assert 0.5 < float(line.split("halfway to chance at α = ")[1]) < 10
    assert "mlp-foreign.pt: not a checkpoint of this program\n" in done.stderr
    assert (tmp_path / "ckpt" / "mlp-foreign.pt").read_bytes() == b"not a checkpoint"


def test_data_py_prints_what_is_documented(command, mnist):
    done = command("data.py", folders=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Train batch: x.shape=torch.Size([128, 3, 28, 28]), ")
    assert isinstance(mnist, data.Dataset)


@pytest.mark.parametrize("family", [name for name in noises.FAMILIES if name != "gaussian"])
def test_every_family_is_measured_with_its_size(family):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.ReLU(), torch.nn.Linear(30, 5))
    kind = noises.find(family)
    points = [(0.0, 0, 1), *((s, 0, 1) for s in kind.strengths), (kind.strengths[-1], 1, 1)]
    before = [p.clone() for p in model.parameters()]
    seen = []

    def measure(model):
        seen.append({n: p.clone() for n, p in noise.noisy_parameters(model).items()})
        return 1, 2, 0.5

    rows = list(evaluate.sweep(model, measure, points, 3, 4, family))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
    assert rows[0][6] == 0
    for row, noisy in zip(rows, seen):
        parts = [(noisy[n] - p).div(p.std(correction=0)) for n, p in seen[0].items()]
        expected = torch.cat([part.flatten() for part in parts]).square().mean().sqrt().item()
        assert row[6] == pytest.approx(expected, rel=1e-4, abs=1e-7)
    z = noises.draw(family, seen[0], 3, 4, 0)["0.weight"]
    w = noises.perturb(seen[0]["0.weight"], family, kind.strengths[0], z)
    assert torch.equal(seen[1]["0.weight"], w)
    assert (rows[-2][6] == rows[-1][6]) == (not kind.random)


def test_a_composition_need_not_be_registered():
    model = torch.nn.Linear(9, 9)
    points = [(0.1, 0, 1)]
    [row] = evaluate.sweep(model, lambda m: (1, 1, 0.0), points, 0, 0, "stuck_at_0.01+gaussian")
    assert row[6] > 0.1
