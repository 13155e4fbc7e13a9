"""The kubectl of the command line's tests."""

from tests.unit.cli.test_jobs import kubectl as kubectl
