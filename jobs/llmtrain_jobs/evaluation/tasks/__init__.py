"""What is asked: rows of files, benchmarks known by shape, tasks of a user's own, all as lm-evaluation-harness tasks."""
