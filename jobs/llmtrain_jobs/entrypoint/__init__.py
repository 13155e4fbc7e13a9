"""PID 1 of every pod: starts Ray, runs the stage's driver in the head, says how it ended."""
