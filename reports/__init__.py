"""What a study found, read from its store alone: figures, tables and one self-contained page."""
