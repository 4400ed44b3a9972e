"""Claims about discarding the samples of small loss."""
