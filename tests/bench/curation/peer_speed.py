"""Documents a second of a peer, by CPU time; run by an interpreter that has datatrove and datasketch.

python peer_speed.py shipped|whitespace|datatrove-minhash|datasketch documents.jsonl
"""

import json
import sys
import time
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.pipeline.filters import fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter


class Whitespace:
    """The word splitter that we use."""

    def word_tokenize(self, text):
        return text.split()


def chain(splitter):
    if splitter:
        for module in (fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter):
            module.split_into_words = lambda text, language: text.split()
    filters = [
        gopher_quality_filter.GopherQualityFilter(),
        gopher_repetition_filter.GopherRepetitionFilter(),
        fineweb_quality_filter.FineWebQualityFilter(),
    ]
    sign = minhash(splitter)

    def run(text):
        document = Document(text=text, id="x")
        for rule in filters:
            rule.filter(document)
        sign(text)

    return run


def minhash(splitter):
    signer = MinhashDedupSignature("/tmp/peer-signatures", config=MinhashConfig())
    if splitter:
        signer.word_tokenizer = Whitespace()

    def run(text):
        shingles = signer.get_shingles(text)
        if shingles.size:
            signer.get_signature(shingles)

    return run


def datasketch():
    from datasketch import MinHash

    def run(text):
        words = text.lower().split()
        signature = MinHash(num_perm=112)
        signature.update_batch([" ".join(words[i : i + 5]).encode() for i in range(max(1, len(words) - 4))])

    return run


RUNS = {
    "shipped": lambda: chain(False),
    "whitespace": lambda: chain(True),
    "datatrove-minhash": lambda: minhash(True),
    "datasketch": datasketch,
}


def main():
    run = RUNS[sys.argv[1]]()
    texts = [json.loads(line)["text"] for line in Path(sys.argv[2]).read_text().splitlines()]
    for text in texts:
        run(text)
    began = time.process_time()
    for text in texts:
        run(text)
    print(len(texts) / (time.process_time() - began))


if __name__ == "__main__":
    main()
