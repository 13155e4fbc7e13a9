"""Records as warcio reads them: `python peer_warcio.py out.json FILE...`; for each file [type, hash of the decoded content]."""

import hashlib
import json
import sys

from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed


def records(name):
    found = []
    with open(name, "rb") as raw:
        try:
            for record in ArchiveIterator(raw, arc2warc=True):
                content = record.content_stream().read()
                found.append([record.rec_type, hashlib.sha256(content).hexdigest(), len(content)])
        except ArchiveLoadFailed:
            pass
    return found


if __name__ == "__main__":
    with open(sys.argv[1], "w") as out:
        json.dump({name: records(name) for name in sys.argv[2:]}, out)
