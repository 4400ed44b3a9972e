"""Claims about the radius of curvature: its estimates, its layers, and what a warm-up does to it."""
