"""Archives that others wrote to try their readers with give the records that warcio gives, or more; and odd ones end.

LLMTRAIN_ARCHIVES names a folder with the test archives of warcio (`test/data`), jwarc (`test-resources`) and FastWARC (`tests/data`),
each in a folder of its own; they are not part of this repository. LLMTRAIN_MUTATIONS: how many mutated archives are tried.
"""

import gzip
import hashlib
import io
import json
import os
import random
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from llmtrain_jobs.curation.reading.web.archive import Archive, Entry
from llmtrain_jobs.curation.reading.web.codings import TooLong, Undecodable, decoded
from llmtrain_jobs.curation.reading.web.response import response_of

from tests.peers import python_of
from tests.unit.jobs.curation.reading.archives import http, members, warc

FOLDER = os.environ.get("LLMTRAIN_ARCHIVES", "")
MUTATIONS = int(os.environ.get("LLMTRAIN_MUTATIONS", "20000"))
MOST = 1 << 26
HERE = Path(__file__).parent
DOCUMENTS = ("response", "resource", "conversion")


@pytest.mark.skipif(not FOLDER, reason="LLMTRAIN_ARCHIVES names no folder of archives")
def test_archives_of_other_readers_give_what_warcio_gives_or_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(str(file) for file in Path(FOLDER).glob("*/*") if {".warc", ".arc"} & set(file.suffixes))
    assert files, f"no archive in {FOLDER}"
    out = tmp_path / "out.json"
    subprocess.run([str(python_of("warcio")), str(HERE / "peer_warcio.py"), str(out), *files], check=True)
    theirs = json.loads(out.read_text())
    missing = {}
    for file in files:
        found = entries(Path(file).read_bytes())
        wanted = Counter((kind, digest) for kind, digest, size in theirs[file] if kind in DOCUMENTS and size)
        lacking = wanted - Counter((entry.kind, content_hash(entry)) for entry in found if entry.kind)
        assert len(found) >= len(theirs[file])
        bad = sum(bool(entry.problem) for entry in found)
        with capsys.disabled():
            print(f"\n{file[len(FOLDER) :]}: ours {len(found) - bad} and {bad} bad, warcio {len(theirs[file])}", end="")
        if lacking:
            missing[file] = (dict(lacking), bad)
    assert not missing


def entries(data: bytes) -> list[Entry]:
    return list(Archive(io.BytesIO(data), MOST))


def content_hash(entry: Entry) -> str:
    """Of the content as warcio gives it: without HTTP's header and codings."""
    content = entry.block
    if entry.kind == "response" and entry.headers.get("content-type").startswith("application/http"):
        response = response_of(content)
        try:
            content = decoded(response.body, response.headers, MOST)
        except (Undecodable, TooLong):
            content = response.body
    return hashlib.sha256(content).hexdigest()


def test_mutated_archives_end_and_add_up() -> None:
    """Of a file without compression every byte has its place. Of gzip, records of undamaged members are all there."""
    generator = random.Random(24)
    for number in range(MUTATIONS):
        parts = [
            warc(http(body=generator.randbytes(generator.randrange(3000))), WARC_Target_URI=f"http://a/{n}")
            for n in range(5)
        ]
        changed, packed = bytearray(b"".join(parts)), [bytearray(part) for part in map(gzip.compress, parts)]
        for _ in range(generator.randrange(1, 6)):
            mutate(changed, generator)
        found = entries(bytes(changed))
        assert sum(entry.size for entry in found) == len(changed), number
        place = generator.randrange(5)
        packed[place][generator.randrange(len(packed[place]))] ^= 1 << generator.randrange(8)
        whole = {f"http://a/{n}" for n in range(5) if n != place}
        if packed[0].startswith(b"\x1f\x8b\x08"):
            assert whole <= {e.headers.get("warc-target-uri") for e in entries(b"".join(packed)) if not e.problem}, (
                number
            )
        cut = members(parts)[: generator.randrange(1, 3000)]
        assert sum(entry.size for entry in entries(cut)) <= sum(map(len, parts)), number


def mutate(data: bytearray, generator: random.Random) -> None:
    at = generator.randrange(len(data))
    match generator.randrange(5):
        case 0:
            data[at] ^= 1 << generator.randrange(8)
        case 1:
            del data[at : at + min(generator.randrange(1, 2000), len(data) - 1)]
        case 2:
            data[at:at] = generator.randbytes(generator.randrange(60))
        case 3:
            data[at:at] = data[: generator.randrange(1, 1500)]
        case _:
            place = data.find(b"Content-Length: ", at)
            if place >= 0:
                data[place + 16 : place + 17] = str(generator.randrange(10 ** generator.randrange(1, 12))).encode()
