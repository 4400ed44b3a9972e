"""Numerics that only reports need: laws of the batch size, and tests that a study's own table does without."""
