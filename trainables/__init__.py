"""One trial of large-batch training: models, data, optimizers, tricks and the one loop. Torch only."""
