"""From uint8 images on the device to normalised, augmented float batches."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.data import Normalisation, Split

PADDING = 4


class Draws(NamedTuple):
    """The augmentation of a batch: crop offsets (n, 2) in 0…8 and flips (n,)."""

    offsets: Tensor
    flips: Tensor

    @classmethod
    def sample(cls, n: int, generator: torch.Generator) -> Draws:
        """The augmentation of n images, drawn on the CPU."""
        offsets = torch.randint(2 * PADDING + 1, (n, 2), generator=generator)
        return cls(offsets, torch.rand(n, generator=generator) < 0.5)

    def part(self, rows: slice) -> Draws:
        """The augmentation of the images at `rows`."""
        return Draws(self.offsets[rows], self.flips[rows])


def crop_and_flip(images: Tensor, draws: Draws) -> Tensor:
    """Each (3, 32, 32) image shifted by its own offset within a zero border of 4, half of them mirrored."""
    offsets, flips = (draw.to(images.device, non_blocking=True) for draw in draws)
    size = images.shape[-1]
    windows = F.pad(images, [PADDING] * 4).unfold(2, size, 1).unfold(3, size, 1)  # a view: (n, 3, 9, 9, 32, 32)
    cropped = windows[torch.arange(len(images), device=images.device), :, offsets[:, 0], offsets[:, 1]]
    return torch.where(flips.view(-1, 1, 1, 1), cropped.flip(-1), cropped)


def layout(device: torch.device) -> torch.memory_format:
    """How images and weights lie in memory: with the channels last on a GPU, whose convolutions want it so.

    A CPU would be 10 to 20 % faster so, too, but torch 2.14 crashes there: the gradient of a narrow ResNet18's
    convolutions divides by zero in its library as soon as it has two threads.
    """
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


class Batches:
    """A split on a device, read by index in `dtype`. `mean` and `std` (3,) are in units of a byte."""

    def __init__(
        self, split: Split, mean: Tensor, std: Tensor, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        with warnings.catch_warnings():  # shared memory is read-only; nothing here writes in place
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self.images = torch.from_numpy(split.images).to(device)
            self.labels = torch.from_numpy(split.labels).to(device)
        self.mean = mean.view(3, 1, 1).to(device, dtype)
        self.inverse_std = (1 / std).view(3, 1, 1).to(device, dtype)
        self.dtype, self.layout = dtype, layout(device)

    def __len__(self) -> int:
        return len(self.labels)

    def chance(self) -> float:
        """Accuracy that a net which names one class for every image exceeds in one such split of forty at most.

        The commonest class's share p of the m labels, and 2 √(p(1 − p)/m) for the luck of the draw.
        """
        share = float(self.labels.bincount().max()) / len(self)
        return share + 2 * math.sqrt(share * (1 - share) / len(self))

    def take(self, index: Tensor | slice, draws: Draws | None = None) -> tuple[Tensor, Tensor]:
        """Normalised images (n, 3, 32, 32) and labels (n,) at `index`, augmented if `draws` are given."""
        images = self.images[index]
        if draws is not None:
            images = crop_and_flip(images, draws)
        floats = images.to(self.dtype).sub_(self.mean).mul_(self.inverse_std)  # a copy of the bytes, so in place
        return floats.contiguous(memory_format=self.layout), self.labels[index]


def normalisation(split: Split, kind: Normalisation = "channel") -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (3,) that a batch's bytes are normalised by: the split's own, by channel.

    `none` brings the bytes into [0, 1] and no further.
    """
    if kind == "none":
        return torch.zeros(3), torch.full((3,), 255.0)
    counts = np.stack([np.bincount(split.images[:, channel].reshape(-1), minlength=256) for channel in range(3)])
    share, bytes_ = counts / counts.sum(1, keepdims=True), np.arange(256)
    mean = share @ bytes_
    std = np.sqrt(np.maximum(share @ bytes_**2 - mean**2, 1.0))
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)
