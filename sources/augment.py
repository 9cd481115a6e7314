"""Random changes of training images that keep their class."""

import torch
import torch.nn.functional as F
from torch import Tensor

PAD = 4  # pixels on each side


def crop_and_flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to 4 pixels and mirror every second one, at random (He et al., 2016).

    As in section 4.2 there: 4 pixels of padding on each side, a random crop of the old size, from
    the image or its horizontal flip. The padding is black, as torchvision's `RandomCrop` has it.

    Args:
        x: a batch (B, C, H, W).
        generator: a CPU generator: the same draws on every device.

    Returns:
        (B, C, H, W), a new tensor.
    """
    count, channels, height, width = x.shape
    down, right = torch.randint(2 * PAD + 1, (2, count), generator=generator)  # (B,) each
    mirrored = torch.rand(count, generator=generator) < 0.5  # (B,)
    rows = down[:, None] + torch.arange(height)  # (B, H), in the padded image
    columns = torch.arange(width).expand(count, -1)  # (B, W)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns) + right[:, None]
    pixels = rows[:, :, None] * (width + 2 * PAD) + columns[:, None]  # (B, H, W)
    pixels = pixels.to(x.device).view(count, 1, -1).expand(-1, channels, -1)  # (B, C, H·W)
    padded = F.pad(x, [PAD] * 4).flatten(2)  # (B, C, H, W) -> (B, C, (H + 8)·(W + 8))
    return padded.gather(2, pixels).view(x.shape)  # one pass: many times faster than views
