"""CIFAR-10 through torchvision, whose loader checks the official MD5 sums."""

from __future__ import annotations

import pickle
from typing import Annotated, Literal

import numpy as np

from trainables.data import Data, Split, folder, noise
from trainables.errors import Refused
from trainables.settings import about


class CIFAR10(Data):
    """`data: {name: cifar10}`, read from $STUDY_DATA/cifar-10-batches-py."""

    name: Literal["cifar10"] = "cifar10"
    augment: Annotated[bool, about("", "random crop with padding 4, and horizontal flip")] = True

    def read(self) -> tuple[Split, Split]:
        from torchvision.datasets import CIFAR10 as Torchvision  # slow to import, and no worker needs it

        try:
            halves = [Torchvision(root=folder(), train=train) for train in (True, False)]
        except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
            raise Refused(
                "data/name", self.name,
                f"its files in {folder()} are missing, unreadable or differ from the official checksums",
                "run `study data cifar10`, or set STUDY_DATA to the folder that holds cifar-10-batches-py",
            ) from error  # fmt: skip
        train, test = (
            Split(np.ascontiguousarray(half.data.transpose(0, 3, 1, 2)), np.array(half.targets, np.int64))
            for half in halves
        )
        return train, test

    def blank(self) -> tuple[Split, Split]:
        return noise(50_000, 10_000, classes=10)

    def prepare(self) -> None:
        from torchvision.datasets import CIFAR10 as Torchvision

        try:
            Torchvision(root=folder(), train=True, download=True)
        except (RuntimeError, OSError) as error:
            raise Refused(
                "data/name", self.name, f"the download into {folder()} failed ({error})",
                "check the network and the folder, or copy cifar-10-batches-py there by hand",
            ) from error  # fmt: skip
