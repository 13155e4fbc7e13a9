"""The plane of tests/kwok, for those of its tests that take long."""

from tests.kwok.conftest import controllers, golden, goldens, plane, world

__all__ = ["controllers", "golden", "goldens", "plane", "world"]
