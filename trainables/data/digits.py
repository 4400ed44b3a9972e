"""scikit-learn's bundled handwritten digits: 1,797 images of 8×8, nothing to download."""

from __future__ import annotations

from typing import Literal

import numpy as np

from trainables.data import Data, Split


class Digits(Data):
    """`data: {name: digits}`. Enlarged four times to 32×32 in three equal channels; 360 images are the test set."""

    name: Literal["digits"] = "digits"

    def read(self) -> tuple[Split, Split]:
        from sklearn.datasets import load_digits  # slow to import, and no worker needs it

        small, labels = load_digits(return_X_y=True)
        grey = np.round(small.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
        images = grey.repeat(3, axis=1).repeat(4, axis=2).repeat(4, axis=3)
        return self._cut(Split(images, labels.astype(np.int64)), size=360)
