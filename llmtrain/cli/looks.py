"""A look at the sources as text."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from llmtrain.cli.cells import cell, drawing
from llmtrain.inspection.findings import Finding
from llmtrain.inspection.report import Example, SourceReport, Stop
from llmtrain.text import lines, plain

WIDTH = 150
SHOWN = 8
"""Languages and charsets that are told; the rest is added up."""
EXAMPLE_CHARACTERS, PROBLEMS = 48, 3
STOPS = {
    Stop.END: "to its end", Stop.RECORDS: "the first ones", Stop.BYTES: "until 64 MB were read",
    Stop.SECONDS: "until the time was over",
}  # fmt: skip


def text_of(reports: Sequence[SourceReport], findings: Sequence[Finding]) -> str:
    """All sources, then what is worth saying."""
    console, out = drawing(WIDTH)
    for report in reports:
        _source(console, report)
    for finding in findings:
        console.print(cell(f"finding: {finding.message}"), soft_wrap=True)
    if not findings:
        console.print(cell("no findings"))
    return lines(out.getvalue()).rstrip()


def _source(console: Console, report: SourceReport) -> None:
    for line in _facts(report):
        console.print(cell(line), soft_wrap=True)
    console.print(_fates(report))


def _facts(report: SourceReport) -> list[str]:
    """Lines about a source. The size of what was read, then what it is made of, then what could not be read."""
    read, kept = report.read, report.kept
    skipped = {reason: amount.records for reason, amount in report.skipped.items()}
    counted = {
        "languages": report.languages, "charsets": report.charsets, "personal data": report.pii_found, "skipped records": skipped,
    }  # fmt: skip
    files = f"{report.files_read:,} of {report.files:,} files ({STOPS[report.stopped]})"
    return [
        f"{report.name}  {report.path}",
        f"  {read.records:,} records of {files}: {read.bytes:,} bytes, text {report.text_bytes:,}",
        f"  {kept.share:.1%} of the records would be kept: text {report.kept_text_bytes:,}",
        *(f"  {name}: {_counts(counts)}" for name, counts in counted.items() if counts),
        *(f"  not asked here: spec.curation.{field}" for field in report.not_applied),
        *(f"  {file} {problem}" for file, problem in list(report.first_problems.items())[:PROBLEMS]),
    ]


def _counts(counts: Mapping[str, int]) -> str:
    """The most frequent ones with their shares."""
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    told = [f"{name or 'none'} {count:,} ({count / total:.1%})" for name, count in ordered[:SHOWN]]
    rest = sum(count for _, count in ordered[SHOWN:])
    return ", ".join([*told, *([f"others {rest:,}"] if rest else [])])


def _fates(report: SourceReport) -> Table:
    """What is lost by reason or first broken rule; a rule's other numbers; an example of each. What is kept stands last."""
    table = Table(box=None)
    table.add_column("lost by", no_wrap=True)
    for name in ("records", "share", "bytes", "broken by", "alone"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("example", no_wrap=True)
    for name, lost in report.lost.items():
        rule = report.rules.get(name)
        broken = (f"{rule.breaking:,}", f"{rule.alone:,}") if rule else ("", "")
        table.add_row(
            cell(name),
            f"{lost.records:,}",
            f"{lost.share:.1%}",
            f"{lost.bytes:,}",
            *broken,
            cell(_example(report.examples, name)),
        )
    kept = report.kept
    example = _example(report.examples, "kept")
    table.add_row("kept", f"{kept.records:,}", f"{kept.share:.1%}", f"{kept.bytes:,}", "", "", cell(example))
    return table


def _example(examples: Sequence[Example], fate: str) -> str:
    found = next((example for example in examples if example.fate == fate), None)
    return plain(" ".join(found.text.split()), EXAMPLE_CHARACTERS) if found else ""
