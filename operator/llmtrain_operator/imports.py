"""What is imported of others, which a process at rest holds as long as it lives."""

import sys
from importlib.util import find_spec, module_from_spec


def without_its_root(package: str) -> None:
    """Let a package's parts be imported without what its root imports of its own accord; nothing where it is not installed.

    `kubernetes` imports all of itself: a second client, `requests`, OAuth and tables of encodings, a fifth of the operator's memory. Used of it is
    `kubernetes.aio`, and kopf asks it for two classes; each imports by itself what it needs.
    """
    found = None if package in sys.modules else find_spec(package)
    if found is not None:
        sys.modules[package] = module_from_spec(found)
