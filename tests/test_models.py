"""Every architecture of the registry: shapes, coverage by noise, restore, the printed check."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import models
from config import Shape
from noise import noisy_parameters, weight_noise
from sources.spec import DatasetSpec
from store.checkpoints import content_digest

HEAVY = 20_000_000  # parameters; architectures above it are tested in the slow part


def size(name: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in models.build(name).parameters())


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.slow] if size(name) > HEAVY else [])
        for name in models.ARCHITECTURES
    ],
)
def named_model(request) -> tuple[str, nn.Module]:
    torch.manual_seed(0)
    model = models.build(request.param).eval()
    for parameter in model.parameters():  # torchvision's ViT starts with a head of zeros, and
        if parameter.std() == 0:  # noise relative to them is zero too
            nn.init.normal_(parameter, std=0.02)
    return request.param, model


def test_logits_have_the_shape_promised(named_model):
    _, model = named_model
    with torch.inference_mode():
        assert model(torch.rand(2, 3, 28, 28)).shape == (2, models.SEED.classes)


def test_one_grey_channel_seen_three_times_gives_what_three_copies_give(named_model):
    _, model = named_model
    one = torch.rand(2, 1, 28, 28)
    with torch.inference_mode():
        got, expected = model(one.expand(-1, 3, -1, -1)), model(one.repeat(1, 3, 1, 1))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_every_parameter_is_noisy_or_known_to_be_clean(named_model):
    name, model = named_model
    noisy = noisy_parameters(model)
    total = sum(p.numel() for p in model.parameters())
    share = sum(p.numel() for p in noisy.values()) / total
    print(f"{name}: {len(noisy)} noisy tensors, {share:.2%} of {total:,} parameters")
    assert share > 0.95
    clean = {n for n, _ in model.named_parameters()} - set(noisy)
    matrices = {n for n, p in model.named_parameters() if p.dim() > 1 and "embedding" not in n}
    assert not {n for n in clean & matrices if "token" not in n}


def test_weights_come_back_bit_for_bit_after_use_an_exception_and_a_backward_pass(named_model):
    _, model = named_model
    before = content_digest(model.state_dict())
    x = torch.rand(2, 3, 28, 28)
    with weight_noise(model, 0.5, torch.Generator().manual_seed(0)):
        assert content_digest(model.state_dict()) != before
        F.cross_entropy(model(x), torch.tensor([1, 2])).backward()
    assert content_digest(model.state_dict()) == before
    assert all(p.grad is not None for p in noisy_parameters(model).values())
    model.zero_grad()
    with (
        pytest.raises(ZeroDivisionError),
        weight_noise(model, 0.5, torch.Generator().manual_seed(0)),
    ):
        _ = 1 / 0
    assert content_digest(model.state_dict()) == before


def test_noise_matters(named_model):
    _, model = named_model
    x = torch.rand(2, 3, 28, 28)
    with torch.inference_mode():
        before = model(x)
        with weight_noise(model, 0.0):
            assert torch.equal(model(x), before)
        with weight_noise(model, 0.5, torch.Generator().manual_seed(0)):
            assert not torch.equal(model(x), before)


SHAPES = {
    "MNIST": Shape(),
    "one channel": Shape(1, 8, 8, 10),
    "CIFAR": Shape(3, 32, 32, 100),
    "oblong": Shape(2, 12, 20, 3),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_architecture_is_built_for_a_dataset_or_says_what_it_takes(named_model, shape):
    name, _ = named_model
    channels, height, width, classes = SHAPES[shape]
    spec = DatasetSpec(train_count=1, test_count=1, shape=SHAPES[shape], mean=0.5, std=0.5)
    try:
        model = models.build_for(name, spec).eval()
    except ValueError as error:
        assert shape == "oblong" and name in str(error) and "takes" in str(error)
        return
    assert isinstance(model.normalize.mean, float)
    with torch.inference_mode():
        assert model(torch.rand(2, channels, height, width)).shape == (2, classes)
    noisy = noisy_parameters(model)
    assert sum(p.numel() for p in noisy.values()) > 0.9 * sum(p.numel() for p in model.parameters())


def test_an_image_too_small_for_a_cnn_is_told():
    with pytest.raises(ValueError, match="cnn takes images of 4x4 pixels or more, not 3x9"):
        models.build("cnn", Shape(1, 3, 9, 10))


def test_resnet20_is_that_of_the_paper():
    """Of He et al. (2016), table 6: 0.27 M parameters. Shortcuts have none (option A)."""
    torch.manual_seed(0)
    net = models.ARCHITECTURES["resnet20"](SHAPES["CIFAR"]._replace(classes=10)).eval()
    assert sum(p.numel() for p in net.parameters()) == 269_722
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 19 and all(m.kernel_size == (3, 3) for m in convolutions)
    assert [m.out_channels for m in convolutions] == [16] * 7 + [32] * 6 + [64] * 6
    sizes = []
    for module in convolutions:
        module.register_forward_hook(lambda _, __, y: sizes.append(y.shape[-1]))
    with torch.inference_mode():
        net(torch.rand(1, 3, 32, 32))
    assert sizes == [32] * 7 + [16] * 6 + [8] * 6


def test_a_shortcut_takes_every_second_pixel_and_adds_empty_channels():
    block = models.Block(4, 8).eval()
    nn.init.zeros_(block.conv2.weight)  # only the shortcut is left
    x = torch.rand(2, 4, 6, 6)
    with torch.inference_mode():
        y = block(x)
    assert torch.equal(y[:, :4], x[:, :, ::2, ::2]) and not y[:, 4:].any()


def test_resnet18_is_torchvisions():
    import torchvision

    torch.manual_seed(0)
    ours = models.ARCHITECTURES["resnet18"]()
    theirs = torchvision.models.resnet18(num_classes=models.SEED.classes)
    theirs.load_state_dict(ours.state_dict())
    x, y = torch.rand(8, 3, 28, 28), torch.arange(8)
    for model in (ours, theirs):
        model.train()
        F.cross_entropy(model(x), y).backward()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4, msg=name)
    ours, theirs = ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_the_builders_give_fresh_weights():
    model = models.build("mlp")
    again = copy.deepcopy(model)
    assert content_digest(model.state_dict()) == content_digest(again.state_dict())
    assert content_digest(models.build("mlp").state_dict()) != content_digest(model.state_dict())


def test_the_command_prints_a_line_for_each_default_architecture(command):
    done = command("models.py", folders=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(models.DEFAULT_ARCHITECTURES)
    for name, line in zip(models.DEFAULT_ARCHITECTURES, lines, strict=True):
        assert line.startswith(f"{name}: ok, (2, 3, 28, 28) -> (2, 10)")
