"""Models behind OpenAI-compatible endpoints: a reference beside ours, and a judge."""
