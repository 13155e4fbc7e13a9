"""Build, tune or call: what the same use costs with a model of one's own, with an open one, or behind an API."""
