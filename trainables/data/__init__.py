"""Data sets of 3×32×32 images. A plug-in is a settings class whose `read` returns the images.

Images stay uint8 until a batch is used. Every split is stratified by class and depends on `split_seed` alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from trainables.errors import Refused
from trainables.plugins import Registry
from trainables.settings import Settings, about


@dataclass(frozen=True)
class Split:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.intp]) -> Split:
        """The images and labels at `index` (n,), as a copy."""
        return Split(np.ascontiguousarray(self.images[index]), np.ascontiguousarray(self.labels[index]))


@dataclass(frozen=True)
class Splits:
    """What a trial is given: three disjoint splits, the validation one possibly empty."""

    train: Split
    validation: Split
    test: Split
    classes: int


def noise(train: int, test: int, classes: int) -> tuple[Split, Split]:
    """So many images of noise for training and for the test, their labels equally frequent."""
    draw = np.random.default_rng(0)
    sizes = (train, test)
    images = (draw.integers(0, 256, (size, 3, 32, 32), dtype=np.uint8) for size in sizes)
    train_split, test_split = (Split(each, np.arange(len(each)) % classes) for each in images)
    return train_split, test_split


Normalisation = Literal["channel", "none"]


class Data(Settings):
    """A data set plug-in."""

    name: str
    train_size: Annotated[
        int | None, about("N", "images taken from the training set (all if not given)", unit="image", ge=2)
    ] = None
    test_size: Annotated[
        int | None, about("N_t", "images taken from the test set (all if not given)", unit="image", ge=2)
    ] = None
    validation: Annotated[
        float, about("v", "fraction of the `train_size` images held out to choose configurations", ge=0, lt=1)
    ] = 0.1
    split_seed: Annotated[int, about("", "seed of the splits, and of nothing else", ge=0, lt=2**32)] = 0
    augment: Annotated[bool, about("", "random crop with padding 4, and horizontal flip")] = False
    normalisation: Annotated[
        Normalisation,
        about("", "channel: mean 0 and deviation 1 by channel; none: pixels in [0, 1]", introduced="channel"),
    ] = "channel"

    def read(self) -> tuple[Split, Split]:
        """The whole training and test set. Raises Refused when the files are missing or damaged."""
        raise NotImplementedError

    def blank(self) -> tuple[Split, Split] | None:
        """As many images and labels as `read` gives, of noise, to price trials by where the files are missing.

        None for a data set that does not know its size without them.
        """
        return None

    def prepare(self) -> None:
        """Fetch what `read` needs. Trials never download."""

    def splits(self, whole: tuple[Split, Split] | None = None) -> Splits:
        """The three splits, of what `read` gives or of `whole`. Raises Refused where more are wanted than are there."""
        train, test = whole or self.read()
        classes = int(train.labels.max()) + 1
        train = self._subset(train, self.train_size, "train_size", classes)
        test = self._subset(test, self.test_size, "test_size", classes)
        held_out = round(self.validation * len(train))
        if 0 < held_out < classes:
            raise Refused(
                "data/validation", self.validation, f"leaves {held_out} images for {classes} classes",
                f"use 0, or at least {classes / len(train):.3g}",
            )  # fmt: skip
        rest, validation = self._cut(train, held_out)
        return Splits(rest, validation, test, classes)

    def _subset(self, whole: Split, size: int | None, field: str, classes: int) -> Split:
        if size is None or size == len(whole):
            return whole
        if not classes <= size <= len(whole):
            raise Refused(
                f"data/{field}", size, f"{self.name} has {len(whole)} images there, in {classes} classes",
                f"choose between {classes} and {len(whole)}",
            )  # fmt: skip
        return self._cut(whole, size)[1]

    def _cut(self, whole: Split, size: int) -> tuple[Split, Split]:
        """`whole` without a stratified subset of `size` images, and that subset."""
        from sklearn.model_selection import train_test_split  # slow to import, and no worker needs it

        everything = np.arange(len(whole))
        if size == 0:
            return whole, whole.take(everything[:0])
        if len(whole) - size < len(np.unique(whole.labels)):  # too few left over to stratify: keep order
            taken = np.random.default_rng(self.split_seed).permutation(everything)[:size]
            return whole.take(np.setdiff1d(everything, taken)), whole.take(np.sort(taken))
        rest, taken = train_test_split(everything, test_size=size, stratify=whole.labels, random_state=self.split_seed)
        return whole.take(np.sort(rest)), whole.take(np.sort(taken))


def folder() -> Path:
    """Where data sets lie: $STUDY_DATA, else a folder in the user's cache."""
    return Path(os.environ.get("STUDY_DATA") or Path.home() / ".cache" / "generalization-gap")


datasets: Registry[type[Data]] = Registry("trainables.data")
