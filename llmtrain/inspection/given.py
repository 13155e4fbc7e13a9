"""Sources that are named on the command line: a manifest's curation with these in place of its own."""

import os
import re
from collections.abc import Sequence
from typing import Any

from llmtrain.api.job import JobSpec
from llmtrain.cost.errors import InputError
from llmtrain.storage.store import GLOB, literally

MOST, LONGEST = 64, 1000
"""Paths of a command, characters of each: what a manifest may hold."""
PLAIN: dict[str, Any] = {
    "storage": {"persistentVolumeClaim": {"claimName": "none"}},
    "curation": {"cluster": {"planRef": {"name": "none"}}, "sources": [{"name": "none", "path": "none"}]},
    "model": {"preset": "tiny"},
    "training": {"cluster": {"planRef": {"name": "none"}}, "tokens": 1_000_000},
}
"""Where there is no manifest: the rules that a curation has by default. Nothing else of it is asked for."""


def with_sources(spec: JobSpec | None, paths: Sequence[str]) -> JobSpec:
    """The manifest's spec, or one of defaults, its sources being the paths. Raises InputError for too many of them."""
    if len(paths) > MOST:
        raise InputError(
            "PATH", f"{len(paths)} paths, {MOST} may be given; put a pattern in quotes: 'corpus/*.jsonl.gz'"
        )
    if long := next((path for path in paths if len(where(path)) > LONGEST), None):
        raise InputError("PATH", f"`{long[:60]}...` is longer than {LONGEST} characters")
    given = spec.to_dict() if spec else dict(PLAIN)
    names = [name_of(path, index) for index, path in enumerate(paths, start=1)]
    sources = [{"name": name, "path": where(path)} for name, path in zip(names, paths, strict=True)]
    return JobSpec.model_validate(given | {"curation": given["curation"] | {"sources": sources}})


def where(path: str) -> str:
    """The URL of what is meant: a file as it is spelt, all files of a folder, or a pattern."""
    if "://" in path:
        return path
    absolute = os.path.abspath(path)
    if os.path.isdir(absolute):
        return f"file://{literally(absolute)}/**"
    return f"file://{literally(absolute) if os.path.exists(absolute) else absolute}"


def name_of(path: str, number: int) -> str:
    """A source's name: its last parts in small letters, with its number so that no two are the same."""
    stem = re.sub(r"[^a-z0-9]+", "-", GLOB.sub("", path).lower()).strip("-")
    return f"{number}-{stem[-50:]}".strip("-")
