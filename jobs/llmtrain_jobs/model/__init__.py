"""The architecture, and what it costs to compute."""
