"""Scores of the trained model, by lm-evaluation-harness."""
