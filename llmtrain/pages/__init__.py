"""Pages of one file: no script, nothing loaded from elsewhere."""
