"""Claims that a quantity follows a law of the batch size: gradients, strides, the search space, the distance."""
