"""Torch optimizers for large batches: one layer-wise family, each member stated by its radius.

    from trainables.optimizers import LARS, MCLR

Each takes `(params, lr, momentum=…, weight_decay=…, …)`, where `lr` is the paper's γ, and behaves as any
`torch.optim` optimizer. To add one, see CONTRIBUTING.md.
"""
