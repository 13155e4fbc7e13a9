"""What has to hold before training is paid for."""

from decimal import Decimal
from typing import Any

from llmtrain.api.curation import Curation, CurationRequirement
from llmtrain.api.stageconfig import FailureClass
from llmtrain_jobs.curation.corpus import Corpus
from llmtrain_jobs.errors import StageError, bad_input


def check_readable(curation: Curation, corpus: Corpus) -> None:
    """An unreadable corpus is not curated silently: bad records, their bytes, and damaged files are limited."""
    if corpus.count == 0:
        raise bad_input("`spec.curation.sources`: the sources hold no document", "EmptySources")
    if len(corpus.damaged) > curation.max_bad_files:
        file, why = next(iter(corpus.damaged.items()))
        raise bad_input(
            f"`{file}`: {why}; {len(corpus.damaged)} files are damaged, `spec.curation.maxBadFiles` allows {curation.max_bad_files}",
            "DamagedFile",
        )
    allowed = Decimal(curation.max_bad_record_share)
    records = sum(s.problems for s in corpus.summaries), corpus.count, "records"
    sizes = sum(s.bad for s in corpus.summaries), sum(s.size for s in corpus.summaries), "bytes of records"
    for bad, total, unit in (records, sizes):
        if Decimal(bad) > allowed * total:
            file, problem = next(iter(corpus.first_problems.items()))
            raise bad_input(
                f"{bad} of {total} {unit} are bad, `spec.curation.maxBadRecordShare` allows {allowed}; first: `{file}` {problem}"
            )


def check_requirements(require: CurationRequirement, counts: dict[str, Any]) -> None:
    """The gate; the artifact is kept whether it holds or not."""
    need, have = require.min_tokens, counts["train_tokens"]
    if have < need:
        missing = (
            f"{have} tokens were kept, `spec.curation.require.minTokens` asks for {need}: {need - have} are missing"
        )
        raise StageError(FailureClass.BELOW_THRESHOLD, "TooFewTokens", missing)
    for share, least, field in ((counts.get("kept_share"), require.min_kept_share, "minKeptShare"),):
        if share is not None and Decimal(str(share)) < Decimal(least):
            raise _refused(
                "NotEnoughKept",
                f"a share of {share} of the documents was kept, `spec.curation.require.{field}` asks for {least}",
            )
    for name, most, field in (
        ("duplicate_share", require.max_duplicate_share, "maxDuplicateShare"),
        ("contaminated_share", require.max_contaminated_share, "maxContaminatedShare"),
    ):
        if name in counts and Decimal(str(counts[name])) > Decimal(most):
            words = name.removesuffix("_share")
            raise _refused(
                "TooMuch",
                f"a share of {counts[name]} of the documents is {words}, `spec.curation.require.{field}` allows {most}",
            )


def _refused(reason: str, message: str) -> StageError:
    return StageError(FailureClass.BELOW_THRESHOLD, reason, message)
