"""The first records of each source, read and judged as curation will, before anything is paid for."""
