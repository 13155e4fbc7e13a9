"""Loops over characters and words as machine code (numba).

Compiled once a machine: the code is kept in `NUMBA_CACHE_DIR`, else beside the source, else under the user's home, the
first of them that can be written. Integers wrap around; nothing is checked for bounds.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(loop: Loop) -> Loop:
    """The same function, compiled for the types that it is called with."""
    machine_code = numba.njit(nogil=True, error_model="numpy")(loop)
    try:
        machine_code.enable_caching()
    except RuntimeError:
        return cast(Loop, machine_code)  # nowhere to keep it: every process compiles for itself
    return cast(Loop, machine_code)
