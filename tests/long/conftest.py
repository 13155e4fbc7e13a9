"""The plane of tests/kwok, for those of its tests that take long."""

from tests.kwok.conftest import golden, goldens, plane, world

__all__ = ["golden", "goldens", "plane", "world"]
