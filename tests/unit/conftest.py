"""Property tests draw the same examples every time and have no deadline: a slow machine fails nothing.

Models here are so small that threads would only wait for each other; torch asks for their number once, when it is imported.
"""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
