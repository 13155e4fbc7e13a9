"""Documents from files. What cannot be read is reported with its place, never lost silently."""
