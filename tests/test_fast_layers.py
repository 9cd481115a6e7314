"""The faster layers give what torch.nn's give."""

import copy
from itertools import product

import pytest
import torch
from torch import nn

from machine import fast_layers

SHAPES = [
    (size, kernel, stride, padding)
    for size, kernel, stride, padding in product(range(1, 9), range(1, 8), (1, 2, 3), range(4))
    if size + 2 * padding >= kernel
]


def pair(module: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return a float64 module of torch.nn and its faster twin, with the same parameters."""
    module = module.double()
    return module, fast_layers.skip_dead_work(nn.Sequential(copy.deepcopy(module)))[0]


def outputs_and_gradients(module: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    x = x.clone().requires_grad_() if x.stride(1) else x
    y = module(x)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    wanted = [*module.parameters(), *([x] if x.requires_grad else [])]
    gradients = torch.autograd.grad((y * weights).sum(), wanted) if wanted else []
    return [y, *gradients]


@pytest.mark.parametrize("bias", [True, False])
def test_convolutions_and_their_gradients_are_those_of_torch(bias):
    torch.manual_seed(0)
    for size, kernel, stride, padding in SHAPES:
        conv = nn.Conv2d(2, 3, kernel, stride=stride, padding=padding, bias=bias)
        plain, fast = pair(conv)
        assert type(fast) is fast_layers.Conv2d
        x = torch.randn(2, 2, size, size, dtype=torch.float64)
        for a, b in zip(outputs_and_gradients(plain, x), outputs_and_gradients(fast, x)):
            torch.testing.assert_close(a, b, msg=f"{size=} {kernel=} {stride=} {padding=}")


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 3, 1, 1), (4, 3, 2, 1), (7, 3, 1, 1)])
@pytest.mark.parametrize("of_weight", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("of_input", [torch.contiguous_format, torch.channels_last])
def test_the_order_in_memory_changes_nothing(shape, of_weight, of_input):
    size, kernel, stride, padding = shape
    plain, fast = pair(nn.Conv2d(4, 3, kernel, stride=stride, padding=padding))
    fast.to(memory_format=of_weight)
    x = torch.randn(2, 4, size, size, dtype=torch.float64)
    got = outputs_and_gradients(fast, x.to(memory_format=of_input))
    for a, b in zip(outputs_and_gradients(plain, x), got, strict=True):
        torch.testing.assert_close(a, b)


def test_activations_have_their_channels_innermost_after_a_grey_image():
    image = torch.rand(2, 1, 28, 28).expand(-1, 3, -1, -1)
    conv = fast_layers.skip_dead_work(nn.Sequential(nn.Conv2d(3, 4, 3)))
    assert conv(image).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [2, 5])
@pytest.mark.parametrize(
    "options",
    [
        dict(groups=2),
        dict(dilation=2, padding=2),
        dict(padding="same"),
        dict(padding_mode="circular"),
    ],
)
def test_unusual_convolutions_are_left_alone(options, size):
    plain, fast = pair(nn.Conv2d(4, 4, 3, **{"padding": size // 2, **options}))
    x = torch.randn(2, 4, size, size, dtype=torch.float64)
    torch.testing.assert_close(plain(x), fast(x))
    torch.testing.assert_close(plain(x[0]), fast(x[0]))  # one image, without a batch


@pytest.mark.parametrize("size", [(3, 2), (1, 4), (6, 5)])
def test_the_two_axes_of_a_convolution_may_differ(size):
    plain, fast = pair(nn.Conv2d(2, 3, (3, 5), stride=(2, 1), padding=(1, 2)))
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    for a, b in zip(outputs_and_gradients(plain, x), outputs_and_gradients(fast, x), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("module", "shape", "channels", "said"),
    [
        (nn.Conv2d(3, 4, 3), (2, 3, 1, 1), 3, "Kernel size"),
        (nn.Conv2d(3, 4, 3), (2, 1, 8, 8), 5, "channels"),  # grey, but five of them
        (nn.Conv2d(3, 4, 3, padding=1), (2, 5, 2, 2), 5, None),
        (nn.MaxPool2d(4), (1, 1, 3, 3), 1, "too small"),
    ],
)
def test_what_torch_refuses_is_refused(module, shape, channels, said):
    x = torch.randn(shape, dtype=torch.float64).expand(-1, channels, -1, -1)
    for either in pair(module):
        with pytest.raises(RuntimeError, match=said):
            either(x)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_second_derivatives_of_convolutions_are_those_of_torch(size):
    def second(module: nn.Module) -> list[torch.Tensor]:
        y = module(x).pow(3).sum()
        gradients = torch.autograd.grad(y, list(module.parameters()), create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in gradients), module.parameters())

    plain, fast = pair(nn.Conv2d(2, 3, 3, padding=1))
    x = torch.randn(2, 2, size, size, dtype=torch.float64)
    for a, b in zip(second(plain), second(fast), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 3, 1, 1), (1, 1, 0, 0)),  # a 1×1 map: only the middle tap
        ((2, 3, 2, 1), (1, 2, 0, 0)),  # 2×2 with stride 2: the last two
        ((2, 3, 1, 1), (0, 2, 1, 1)),  # 2×2: all live, for one output or the other
        ((28, 7, 2, 3), (0, 6, 3, 2)),
    ],
)
def test_live_taps(shape, expected):
    assert fast_layers.live_taps(*shape) == expected


def test_dead_taps_get_no_gradient_and_cannot_change_the_answer():
    _, conv = pair(nn.Conv2d(2, 3, 3, padding=1))
    x = torch.randn(2, 2, 1, 1, dtype=torch.float64)
    before = conv(x)
    before.sum().backward()
    dead = torch.ones(3, 3, dtype=torch.bool)
    dead[1, 1] = False
    assert conv.weight.grad[..., dead].eq(0).all()
    with torch.no_grad():
        conv.weight[..., dead] += 100
    assert torch.equal(conv(x), before)


@pytest.mark.parametrize(
    "module", [nn.Conv2d(3, 4, 3), fast_layers.FlatLinear(3 * 36, 5), nn.Conv2d(3, 4, 6)]
)
def test_a_repeated_channel_is_multiplied_once_with_the_same_result(module):
    module = fast_layers.skip_dead_work(nn.Sequential(module)).double()
    one = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    view, copy = one.expand(-1, 3, -1, -1), one.repeat(1, 3, 1, 1)
    assert fast_layers.equal_channels(view)
    assert not fast_layers.equal_channels(copy)
    got = outputs_and_gradients(module, view)
    expected = outputs_and_gradients(module, copy)  # its last entry is the gradient of the copy
    for a, b in zip(got, expected):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("module", [fast_layers.Normalize(0.2, 0.5), fast_layers.Resize(9)])
def test_equal_channels_stay_equal_and_right(module):
    one = torch.rand(2, 1, 6, 6)
    view, copy = one.expand(-1, 3, -1, -1), one.repeat(1, 3, 1, 1)
    assert fast_layers.equal_channels(module(view))
    torch.testing.assert_close(module(view), module(copy))


def test_max_pooling_without_a_backward_pass_is_exact():
    for size, kernel, stride, padding in SHAPES:
        if padding > kernel // 2:
            continue
        plain, fast = pair(nn.MaxPool2d(kernel, stride, padding))
        assert type(fast) is fast_layers.MaxPool2d
        x = torch.randn(2, 3, size, size)
        assert torch.equal(plain(x), fast(x)), (size, kernel, stride, padding)
        needs_gradient = x.requires_grad_()
        assert torch.equal(plain(needs_gradient), fast(needs_gradient))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_attention_is_that_of_torch(training, bias):
    plain, fast = pair(nn.MultiheadAttention(8, 2, batch_first=True, bias=bias).train(training))
    assert type(fast) is fast_layers.MultiheadAttention
    x = torch.randn(3, 5, 8, dtype=torch.float64)

    def results(module: nn.Module) -> list[torch.Tensor]:
        inputs = x.clone().requires_grad_()
        y, weights = module(inputs, inputs, inputs, need_weights=False)
        assert weights is None
        return [y, *torch.autograd.grad((y**3).sum(), [inputs, *module.parameters()])]

    for a, b in zip(results(plain), results(fast), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (dict(), dict(need_weights=True)),
        (dict(dropout=0.5), dict(need_weights=False)),
        (dict(), dict(need_weights=False, key_padding_mask=torch.eye(5, dtype=torch.bool))),
        (dict(), dict(need_weights=False, attn_mask=torch.eye(5, dtype=torch.bool))),
        (dict(batch_first=False), dict(need_weights=False)),
        (dict(add_bias_kv=True), dict(need_weights=False)),
        (dict(add_zero_attn=True), dict(need_weights=False)),
        (dict(kdim=8, vdim=8), dict(need_weights=False)),
        (dict(kdim=8, vdim=6), dict(need_weights=False)),
    ],
)
def test_other_attention_is_left_alone(options, asked):
    plain, fast = pair(nn.MultiheadAttention(8, 2, **{"batch_first": True, **options}))
    x = torch.randn(5, 5, 8, dtype=torch.float64)
    inputs = x, x, x if options.get("vdim", 8) == 8 else x[..., :6]
    results = []
    for module in (plain, fast):
        torch.manual_seed(0)  # of dropout
        results.append(module(*inputs, **asked))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_attention_takes_its_options_in_order():
    plain, fast = pair(nn.MultiheadAttention(8, 2, batch_first=True))
    x, mask = torch.randn(3, 5, 8, dtype=torch.float64), torch.zeros(3, 5, dtype=torch.bool)
    torch.testing.assert_close(plain(x, x, x, mask, False)[0], fast(x, x, x, mask, False)[0])


def test_attention_between_two_sequences_is_left_alone():
    plain, fast = pair(nn.MultiheadAttention(8, 2, batch_first=True))
    x, other = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(plain(x, other, other)[0], fast(x, other, other)[0])
    long = torch.randn(1, 65, 8, dtype=torch.float64)
    torch.testing.assert_close(plain(long, long, long)[0], fast(long, long, long)[0])


def test_max_pooling_passes_nan_on():
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 1] = torch.nan
    _, fast = pair(nn.MaxPool2d(2))
    assert fast(x.double()).isnan().sum() == 1
