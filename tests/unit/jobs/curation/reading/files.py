"""Records of bytes as a source's file would give them."""

import io

from llmtrain_jobs.curation.reading.formats import records
from llmtrain_jobs.curation.reading.opened import Part
from llmtrain_jobs.curation.reading.record import Record

from llmtrain.api.curation import Source

LONGEST = 1 << 20


def read(name: str, data: bytes, longest: int = LONGEST, **source: str) -> list[Record]:
    """All records of a file, blank ones too."""
    return list(
        records(
            io.BytesIO(data), Source.model_validate({"name": "s", "path": "x", **source}), Part(0, 0, name), longest
        )
    )


def texts(found: list[Record]) -> list[str]:
    """Of the documents among them."""
    return [record.text for record in found if record.text and not record.problem]


def problems(found: list[Record]) -> list[str]:
    """Of the bad records among them."""
    return [record.problem for record in found if record.problem]
