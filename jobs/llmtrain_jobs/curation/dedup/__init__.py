"""Repeated documents: exact and near, over all files, sources and workers."""
