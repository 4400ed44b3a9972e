"""The report's figures, in the order of the page. A new one is a file here and a line below."""

from reports.figures import accuracy, curvature_estimates, curves, divergence, gap, profile, rates, slices
from reports.figures.figure import Figure

FIGURES: tuple[Figure, ...] = (
    accuracy.FIGURE,
    gap.FIGURE,
    curves.FIGURE,
    profile.FIGURE,
    slices.FIGURE,
    divergence.FIGURE,
    rates.FIGURE,
    curvature_estimates.FIGURE,
)
