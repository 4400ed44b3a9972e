"""Torch optimizers for large batches: one layer-wise family, each member stated by its radius.

    from trainables.optimizers import LARS, MCLR

Each takes `(params, lr, momentum=…, weight_decay=…, …)`, where `lr` is the paper's γ, and behaves as any
`torch.optim` optimizer. To add one, see CONTRIBUTING.md.
"""

from trainables.optimizers.cblr import CBLR
from trainables.optimizers.lamb import LAMB
from trainables.optimizers.lars import LARS
from trainables.optimizers.layerwise import Batch, LayerWise
from trainables.optimizers.mclr import MCLR
from trainables.optimizers.percent_delta import PercentDelta
from trainables.optimizers.protocols import HasGuards, HasRadii, RunsBackward
from trainables.optimizers.settings import LayerWiseSettings, OptimizerSettings, optimizers

__all__ = [
    "CBLR",
    "LAMB",
    "LARS",
    "MCLR",
    "Batch",
    "HasGuards",
    "HasRadii",
    "LayerWise",
    "LayerWiseSettings",
    "OptimizerSettings",
    "PercentDelta",
    "RunsBackward",
    "optimizers",
]
