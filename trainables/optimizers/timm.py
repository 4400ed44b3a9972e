"""Importing this file puts our optimizers into timm's registry (`pip install generalization-gap[timm]`):

    import trainables.optimizers.timm
    optimizer = timm.optim.create_optimizer_v2(model, "mclr", lr=1e-4, weight_decay=1e-4)

under the names lars2017, lamb2019, percentdelta, mclr and cblr: timm has a LARS and a LAMB of its own, whose
rules differ. timm makes a group of the tensors that it gives no weight decay; they are excluded tensors here as well.
"""

from __future__ import annotations

from timm.optim import OptimInfo
from timm.optim._optim_factory import default_registry

from trainables.optimizers import CBLR, LAMB, LARS, MCLR, PercentDelta

OURS = {"lars2017": LARS, "lamb2019": LAMB, "percentdelta": PercentDelta, "mclr": MCLR, "cblr": CBLR}


def _info(name: str) -> OptimInfo:
    about = (OURS[name].__doc__ or "").partition("\n")[0]
    return OptimInfo(name=name, opt_class=OURS[name], description=about, has_eps=name == "lamb2019", has_momentum=True)


for _name in OURS:
    default_registry.register(_info(_name))
