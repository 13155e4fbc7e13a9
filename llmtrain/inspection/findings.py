"""What of a look is worth saying before curation is paid for."""

from collections.abc import Sequence
from dataclasses import dataclass

from llmtrain.inspection.report import LANGUAGE_MODEL, SourceReport, Stop

MUCH = 0.5
"""A source that would lose more than this share of its records or bytes is a finding."""


@dataclass(frozen=True)
class Finding:
    """About one source, for people."""

    source: str
    message: str


def findings(reports: Sequence[SourceReport]) -> list[Finding]:
    """In the order of the sources."""
    return [Finding(report.name, message) for report in reports for message in _of(report)]


def nothing_kept(reports: Sequence[SourceReport]) -> bool:
    """Whether it is certain that curation keeps no document: every source was read to its end, and none of it stays.

    A classifier that was left out would keep no more. Another language's stop words might.
    """
    return bool(reports) and all(r.whole and not r.kept_at_all and LANGUAGE_MODEL not in r.not_applied for r in reports)


def _of(report: SourceReport) -> list[str]:
    """What is said of a source."""
    named = f"source `{report.name}`"
    if not report.read.records:
        return [
            f"{named} holds no document" if report.whole else f"{named}: no document was found in the time there is"
        ]
    found = [f"{named}: {report.unreadable}"] if report.unreadable else []
    if max(report.lost_share, report.lost_bytes_share) > MUCH:
        found.append(f"{named} would lose {_how_much(report)}{report.most_taken}{_further(report)}")
    return found


def _how_much(report: SourceReport) -> str:
    records = f"{'all' if report.stopped is Stop.END else 'the first'} {report.read.records:,} records"
    if not report.kept.records:
        return f"every one of {records}"
    return f"{report.lost_share:.1%} of {records}, {report.lost_bytes_share:.1%} of their bytes"


def _further(report: SourceReport) -> str:
    """What was found behind the first records, where these are all lost."""
    if report.kept.records or report.read_in_all <= report.read.records:
        return ""
    return f"; of {report.read_in_all:,} that were read {'one' if report.kept_at_all else 'none'} would be kept"
