"""The report as one self-contained page: tables and drawings, no script, nothing loaded from elsewhere."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#1b1f24}
h1{font-size:1.6em}h2{margin-top:2em;border-bottom:1px solid #d0d7de}table{border-collapse:collapse;width:100%}
td,th{padding:3px 10px;border-bottom:1px solid #eaeef2;text-align:left}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:14px}figure{margin:0}figcaption{font-size:13px}
blockquote{margin:4px 0;padding:4px 10px;background:#f6f8fa;white-space:pre-wrap;font-size:13px;overflow-wrap:anywhere}
.before{fill:#c8d1da}.after{fill:#0969da}.bar{fill:#0969da}small{color:#57606a}"""
WIDTH, HEIGHT = 240, 90


def page(report: dict[str, Any], title: str) -> bytes:
    """The whole page."""
    counts = report["counts"]
    facts = [
        f"{counts['train_tokens']:,} training tokens, {counts['validation_tokens']:,} held out",
        f"{counts['documents']:,} documents read, a share of {counts['kept_share']} kept",
    ]
    body = [
        f"<h1>{escape(title)}</h1><p>{escape('; '.join(facts))}.</p>",
        "<h2>Where every document went</h2>", fates(report["ledger"]),
        "<h2>Rules</h2><p><small>A document may break several; its first decides.</small></p>", rules(report["ledger"]["rules"]),
        "<h2>Sources</h2>", sources(report["sources"]),
        "<h2>Duplicates, personal data, benchmarks</h2>", facts_of(report),
        "<h2>Signals before (grey) and after (blue)</h2>", f"<div class=plots>{plots(report['histograms'])}</div>",
        "<h2>Samples</h2>", samples(report["samples"]),
    ]  # fmt: skip
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{STYLE}</style>"
    return (head + "".join(body) + "</html>").encode()


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Numbers to the right."""

    def cell(tag: str, value: object) -> str:
        number = isinstance(value, int | float)
        shown = f"{value:,}" if isinstance(value, int) else str(value)
        return f"<{tag}{' class=n' if number else ''}>{escape(shown)}</{tag}>"

    lines = ["".join(cell("td", value) for value in row) for row in rows]
    return f"<table><tr>{''.join(f'<th>{escape(h)}</th>' for h in header)}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def fates(ledger: dict[str, Any]) -> str:
    """The ledger, with its sum."""
    rows: list[Sequence[object]] = [(name, fate["documents"], fate["bytes"]) for name, fate in ledger["fates"].items()]
    total = ("all that was read", ledger["read"]["documents"], ledger["read"]["bytes"])
    text = ledger["keptText"]
    note = f"<p><small>Text of what stays: {text['read']:,} bytes read, {text['removedByEdits']:,} removed by edits, {text['removedAsRepeats']:,} as repeated paragraphs, {text['kept']:,} kept.</small></p>"
    skipped = [(name, entry["records"], entry["bytes"]) for name, entry in ledger["skipped"].items()]
    if skipped:
        note += "<h2>Records of web archives that hold no document</h2>" + table(
            ("record", "records", "bytes"), skipped
        )
    return (
        bars([(name, fate["documents"]) for name, fate in ledger["fates"].items()])
        + table(("fate", "documents", "bytes"), [*rows, total])
        + note
    )


def bars(values: Sequence[tuple[str, int]]) -> str:
    """A drawing of counts."""
    most = max((count for _, count in values), default=1)
    lines = [
        f"<text x=0 y={18 * i + 13} font-size=12>{escape(name)}</text>"
        f"<rect class=bar x=260 y={18 * i + 3} height=12 width={max(1, round(600 * count / most))} />"
        f"<text x={266 + max(1, round(600 * count / most))} y={18 * i + 13} font-size=12>{count:,}</text>"
        for i, (name, count) in enumerate(values)
    ]
    return f'<svg viewBox="0 0 1000 {18 * len(values) + 6}" width="100%">{"".join(lines)}</svg>'


def rules(found: dict[str, dict[str, int]]) -> str:
    """Rules that some document breaks."""
    rows = [(n, r["first"], r["breaking"], r["alone"], r["bytes"]) for n, r in found.items() if r["breaking"]]
    return table(("rule", "first", "broken by", "alone", "bytes"), rows)


def sources(found: dict[str, dict[str, Any]]) -> str:
    """By source and licence."""
    rows = [
        (
            name,
            s["group"],
            s["licence"],
            s["documents"],
            s["keptDocuments"],
            s["keptTextBytes"],
            s["tokens"],
            s["estimatedTokensDropped"],
        )
        for name, s in found.items()
    ]
    return table(
        ("source", "group", "licence", "documents", "kept", "text kept", "tokens", "tokens dropped (estimate)"), rows
    )


def facts_of(report: dict[str, Any]) -> str:
    """Counts of duplicates, findings of personal data by type, hits of benchmarks by task."""
    duplicates = report["duplicates"]
    hits: dict[str, int] = {}
    for hit in report["contamination"]:
        hits[hit["task"]] = hits.get(hit["task"], 0) + 1
    rows = [
        *((f"duplicates: {k}", str(v)) for k, v in duplicates.items()),
        *((f"personal data: {k}", v) for k, v in report["piiFound"].items()),
    ]
    return table(("what", "count"), [*rows, *((f"benchmark {task}", count) for task, count in hits.items())])


def plots(found: dict[str, dict[str, list[float]]]) -> str:
    """One drawing a signal."""
    return "".join(
        f"<figure>{histogram(h)}<figcaption>{escape(name)}: {h['edges'][0]:g} to {h['edges'][-1]:g}</figcaption></figure>"
        for name, h in found.items()
    )


def histogram(h: dict[str, list[float]]) -> str:
    """Bars of what was, bars of what stays before them."""
    most, width = max([1, *h["before"]]), WIDTH / len(h["before"])
    drawn = [
        f"<rect class={kind} x={i * width:.1f} y={HEIGHT - HEIGHT * count / most:.1f} width={width - 1:.1f} height={HEIGHT * count / most:.1f} />"
        for kind in ("before", "after")
        for i, count in enumerate(h[kind])
        if count
    ]
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="100%">{"".join(drawn)}</svg>'


def samples(found: dict[str, list[dict[str, Any]]]) -> str:
    """A few documents of every fate."""
    parts = []
    for fate, entries in found.items():
        texts = "".join(f"<blockquote>{escape(str(e['text']))}</blockquote>" for e in entries)
        parts.append(f"<details><summary>{escape(fate)}</summary>{texts}</details>")
    return "".join(parts)
