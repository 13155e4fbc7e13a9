"""A look at each source's first records, by the code that curates, in a process of its own."""
