"""The administrator's way into a bench's plane; each bench has a plane of its own size."""

from collections.abc import AsyncIterator

import pytest

from tests.kwok.plane import Admin, Plane


@pytest.fixture
async def admin(plane: Plane) -> AsyncIterator[Admin]:
    async with Admin(plane) as admin:
        yield admin
