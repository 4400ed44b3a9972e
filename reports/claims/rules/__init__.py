"""Claims about layer-wise rules: MCLR, LARS, and tuned Nesterov momentum against both."""
