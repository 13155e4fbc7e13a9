"""One self-contained page of a run: data, curves, scores, bill, reproducibility record."""
