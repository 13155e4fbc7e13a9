"""Documents or bytes a second of ours, by CPU time: `python our_speed.py chain|minhash|stage documents.jsonl`."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from llmtrain_jobs.curation.minhash import Permutations, shingles_of
from llmtrain_jobs.curation.signals.measure import measure
from llmtrain_jobs.curation.signals.words import normal_hashes, words_of


def chain() -> Callable[[str], object]:
    """Gopher, repetition, FineWeb and the signature; every signal whether a rule failed or not."""
    permutations = Permutations.make(112, 14)

    def run(text: str) -> object:
        words = words_of(text)
        return measure(text, words), permutations.signature(shingles_of(words.normal, 5))

    return run


def minhash() -> Callable[[str], object]:
    """Signatures alone, from the text on."""
    permutations = Permutations.make(112, 14)
    return lambda text: permutations.signature(shingles_of(normal_hashes(text), 5))


def timed(run: Callable[[str], object], texts: list[str]) -> float:
    """Documents a second, after all were seen once: code and tables are loaded by then."""
    for text in texts:
        run(text)
    began = time.process_time()
    for text in texts:
        run(text)
    return len(texts) / (time.process_time() - began)


def stage(documents: Path) -> float:
    """Megabytes a second of the whole stage but for tokenizer, tokens and shards."""
    from llmtrain_jobs.curation.flow import Flow
    from llmtrain_jobs.curation.pool import InProcess
    from llmtrain_jobs.curation.stage import verdicts_of
    from llmtrain_jobs.curation.telling import Teller

    from tests.unit.jobs.curation.world import context_in

    with tempfile.TemporaryDirectory() as folder:
        os.environ["LLMTRAIN_STORAGE"] = folder
        (Path(folder) / "in").mkdir()
        (Path(folder) / "in" / "a.jsonl").write_bytes(documents.read_bytes())
        edits = {"edits": ["C4Lines", "RefinedWebLines"], "filters": {"presets": ["Gopher", "C4", "FineWeb"]}}
        context = context_in(Path(folder), edits)
        flow = Flow(context, InProcess(context), Teller(context))
        began = time.process_time()
        corpus = flow.prepare()
        judged = flow.judged(corpus)
        verdicts_of(flow, judged, flow.contaminated(corpus), flow.duplicates(corpus, judged))
        return documents.stat().st_size / 1e6 / (time.process_time() - began)


def main() -> None:
    """Print the last figure."""
    kind, file = sys.argv[1], Path(sys.argv[2])
    texts = [json.loads(line)["text"] for line in file.read_text().splitlines()]
    print(stage(file) if kind == "stage" else timed({"chain": chain, "minhash": minhash}[kind](), texts))


if __name__ == "__main__":
    main()
