"""Claims about whole trainings: accuracy, fluctuation, steps, and the remedies against the gap."""
