"""The first records of each source, before curation is paid for: what would be lost is told, a corpus of nothing refused.

The look runs in a process of its own, whose time and memory are bounded by the smallest pod that preflight has.
"""

from llmtrain.inspection.findings import findings, nothing_kept
from llmtrain.inspection.looking import Looked, look
from llmtrain.inspection.report import RECORDS, Request, SourceReport
from llmtrain_jobs.context import Context
from llmtrain_jobs.errors import StageError, bad_input

SECONDS = 60.0
MODEL_BYTES = 16_000_000
"""A larger model is left out: preflight's pod has 512 MiB by default."""
MEMORY_BYTES = 200_000_000
TOLD = 3


def losses(context: Context) -> list[str]:
    """Warnings for people. Raises NothingKept where it is certain that no document would be kept."""
    request = Request(
        config=context.config, records=RECORDS, seconds=SECONDS, model_bytes=MODEL_BYTES, memory_bytes=MEMORY_BYTES
    )
    looked = look(request, {}, context.check_stop)
    if looked.refusal is not None:
        raise StageError(looked.refusal.failure, looked.refusal.reason, looked.refusal.message)
    for report in looked.reports:
        print(f"preflight {line(report)}", flush=True)
    sources = context.config.spec.curation.sources
    if len(looked.reports) == len(sources) and nothing_kept(looked.reports):
        words = "; ".join(finding.message for finding in findings(looked.reports)[:TOLD])
        raise bad_input(f"nothing would be kept: {words}"[:900], "NothingKept")
    return warnings(looked, [source.name for source in sources])


def warnings(looked: Looked, sources: list[str]) -> list[str]:
    """Of the findings the first, and which sources were not looked at."""
    found = [finding.message for finding in findings(looked.reports)]
    more = len(found) - TOLD
    told = found[:TOLD] + ([f"{more} findings more, which `llmtrain inspect -f` shows"] if more > 0 else [])
    unseen = sources[len(looked.reports) :]
    if unseen:
        told.append(f"not looked at: {', '.join(unseen[:TOLD])} ({looked.trouble})")
    return told


def line(report: SourceReport) -> str:
    """A source for the log."""
    lost = ", ".join(f"{name} {share.records}" for name, share in report.lost.items())
    return f"{report.name}: {report.read.records} records read, {report.kept.records} would be kept; lost by {lost or 'nothing'}"
