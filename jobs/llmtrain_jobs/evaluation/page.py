"""The evaluation as one self-contained HTML page: scores beside guessing, the reference and the baseline; samples."""

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from html import escape
from typing import Any

from llmtrain.api.stageconfig import StageConfig
from llmtrain_jobs.evaluation.guessing import MAJORITY, RANDOM, SHORTEST
from llmtrain_jobs.evaluation.results import Sample, TaskResult

SAMPLES_EACH = 3
SHOWN_CHARACTERS = 1200
STYLE = """
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:1rem 0;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884}td.n,th.n{text-align:right}
.bar{background:#8883;height:.5rem;width:8rem;position:relative}.bar i{position:absolute;inset:0 auto 0 0;background:#2a7de1}
.bar b{position:absolute;top:-.15rem;bottom:-.15rem;width:2px;background:#d33}
.good{color:#18794e}.bad{color:#c62a2f}pre{white-space:pre-wrap;background:#8881;padding:.6rem;border-radius:.3rem}
svg.chart{max-width:34rem;width:100%}svg .grid{stroke:#8884}svg text{fill:currentColor;font-size:12px}svg .axis,svg .tick.x{text-anchor:middle}
svg .tick.y{text-anchor:end}svg .curve{fill:none;stroke:#2a7de1;stroke-width:2}svg line.mark{stroke:#8886}svg circle.mark{fill:#2a7de1}
details{margin:.4rem 0}small{opacity:.75}
"""


def page(
    results: Mapping[str, Any],
    own: Mapping[str, TaskResult],
    baseline: Mapping[str, Any] | None,
    config: StageConfig,
    curves: str = "",
) -> str:
    """The whole page. `curves` is HTML: the way to these scores."""
    body = [
        f"<h1>Evaluation of {escape(config.namespace)}/{escape(config.job)}</h1>",
        _model(results),
        _scores(results, own, baseline),
        _money(own, config.spent_usd),
        curves,
        _parts(own),
        _endpoints(results),
        *(_samples(result) for result in own.values()),
        _provenance(own),
    ]
    head = f"<meta charset=utf-8><title>Evaluation of {escape(config.job)}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(body)}</body></html>\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 1) -> str:
    """Cells are HTML already; columns from `numbers` on stand to the right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        marks = ["" if at < numbers else " class=n" for at in range(len(row))]
        return "".join(f"<{tag}{mark}>{cell}</{tag}>" for mark, cell in zip(marks, row, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', columns)}</tr></thead><tbody>{body}</tbody></table>"


def _model(results: Mapping[str, Any]) -> str:
    model = results["model"]
    return (
        f"<p>Model <code>{escape(model['training'])}</code> (files <code>{escape(model['sha256'][:16])}</code>), trained on "
        f"data <code>{escape(model['curation'])}</code>.</p>"
    )


def _scores(results: Mapping[str, Any], own: Mapping[str, TaskResult], baseline: Mapping[str, Any] | None) -> str:
    columns = [
        "task",
        "score",
        "",
        "value",
        "± s.e.",
        "random",
        "shortest",
        "majority",
        "reference",
        "baseline",
        "n",
        "shots",
        "cut",
    ]
    before = baseline["scores"] if baseline else {}
    rows = [
        _row(result, metric, results["referenceScores"], before) for result in own.values() for metric in result.scores
    ]
    skipped = [
        [escape(result.name), f"skipped: {escape(result.skipped)}", *[""] * 11]
        for result in own.values()
        if result.skipped
    ]
    skipped += [[escape(r.name), f"no score: {escape(r.problem)}", *[""] * 11] for r in own.values() if r.problem]
    skipped += [
        [escape(result.name), f"{escape(metric)}: {escape(why)}", *[""] * 11]
        for result in own.values()
        for metric, why in result.left_out.items()
    ]
    note = (
        "<p><small>The red mark is guessing at random. ‘cut’ counts requests that were longer than the context and lost "
        "their beginning. acc_norm divides log-likelihoods by characters.</small></p>"
    )
    return f"<h2>Scores</h2>{table(columns, [*rows, *skipped], 3)}{note}"


def _row(result: TaskResult, metric: str, reference: Mapping[str, str], baseline: Mapping[str, str]) -> list[str]:
    name, value, guess = f"{result.name}/{metric}", result.scores[metric], result.guessing.get(metric, {})
    error = result.errors.get(metric)
    best = "<b>" if metric == result.primary else ""
    others = [
        _compared(value, other.get(name), result.higher_is_better.get(metric, True)) for other in (reference, baseline)
    ]
    return [
        escape(result.name),
        f"{best}{escape(metric)}",
        _bar(value, guess.get(RANDOM)),
        f"{value:.4f}",
        "" if error is None else f"{error:.4f}",
        *("" if kind not in guess else f"{guess[kind]:.4f}" for kind in (RANDOM, SHORTEST, MAJORITY)),
        *others,
        str(result.count),
        str(result.few_shot),
        f"{result.cut_requests} ({result.cut_tokens} tokens)" if result.cut_requests else "0",
    ]


def _bar(value: float, chance: float | None) -> str:
    if chance is None or not 0 <= value <= 1:
        return ""
    return f"<div class=bar><i style='width:{value:.1%}'></i><b style='left:{chance:.1%}'></b></div>"


def _compared(value: float, other: str | None, higher_is_better: bool) -> str:
    if other is None:
        return ""
    better = value >= float(other) if higher_is_better else value <= float(other)
    return f"<span class={'good' if better else 'bad'}>{escape(other)}</span>"


def usd_per_point(spent_usd: str, score: float, chance: float) -> Decimal | None:
    """Dollars of the job so far for each percentage point above guessing; None where there is none."""
    points = (Decimal(f"{score:.6f}") - Decimal(f"{chance:.6f}")) * 100
    return Decimal(spent_usd) / points if points > 0 else None


def _money(own: Mapping[str, TaskResult], spent_usd: str) -> str:
    """What the job had cost before its evaluation, by what it reached."""
    if not spent_usd:
        return ""
    rows = []
    for result in own.values():
        chance = result.guessing.get(result.primary, {}).get(RANDOM, 0.0 if result.primary == "centred" else None)
        if chance is None or result.primary not in result.scores:
            continue
        price = usd_per_point(spent_usd, result.scores[result.primary], chance)
        shown = "not above guessing" if price is None else f"{price:.4f}"
        rows.append([escape(result.name), escape(result.primary), shown])
    if not rows:
        return ""
    note = f"<p>The job had cost ${escape(spent_usd)} before this attempt.</p>"
    return f"<h2>Dollars per point</h2>{note}{table(['task', 'score', 'US dollars per percentage point'], rows, 2)}"


def _parts(own: Mapping[str, TaskResult]) -> str:
    shown = []
    for result in own.values():
        if result.parts:
            rows = [
                [escape(part), ", ".join(f"{escape(name)} {value:.4f}" for name, value in scores.items())]
                for part, scores in result.parts.items()
            ]
            shown.append(f"<h3>{escape(result.name)}</h3>{table(['part', 'scores'], rows, 2)}")
    return f"<h2>Parts</h2>{''.join(shown)}" if shown else ""


def _endpoints(results: Mapping[str, Any]) -> str:
    usage = results["endpoints"]
    rows = [
        [escape(role), *(str(u[k]) for k in ("requests", "promptTokens", "completionTokens", "costUsd"))]
        for role, u in usage.items()
    ]
    columns = ["endpoint", "requests", "tokens read", "tokens written", "US dollars"]
    return f"<h2>Endpoints</h2>{table(columns, rows)}" if rows else ""


def _samples(result: TaskResult) -> str:
    right: list[Sample] = []
    wrong: list[Sample] = []
    for sample in result.samples:
        (right if _is_right(sample, result.primary) else wrong).append(sample)
    chosen = [*right[:SAMPLES_EACH], *wrong[:SAMPLES_EACH]]
    if not chosen:
        return ""
    return f"<h2>{escape(result.name)}: samples</h2>{''.join(_sample(sample, result.primary) for sample in chosen)}"


def _is_right(sample: Sample, metric: str) -> bool:
    return sample.get("outcome") == "ours" or float(sample.get(metric) or sample.get("acc") or 0) > 0.5


def _sample(sample: Sample, metric: str) -> str:
    mark = "<span class=good>right</span>" if _is_right(sample, metric) else "<span class=bad>wrong</span>"
    if "pair" in sample:
        pair = sample["pair"]
        return _fold(f"{escape(sample['outcome'])} · {_cut(pair['prompt'], 90)}",
                     f"{_pre(pair['prompt'])}{_pre('Ours: ' + pair['ours'])}{_pre('Theirs: ' + pair['theirs'])}"
                     f"{''.join(_pre(raw) for raw in sample['raw'])}")  # fmt: skip
    choices = "".join(_choice(sample, number) for number in range(len(sample.get("choices", []))))
    answer = _pre(f"Answer: {sample['answer']}\nExpected: {sample['gold']}") if "answer" in sample else ""
    tail = sample.get("prompt", "")[-90:]
    return _fold(f"{mark} · {escape(tail)}", f"{_pre(sample.get('prompt', ''))}<ol>{choices}</ol>{answer}")


def _choice(sample: Sample, number: int) -> str:
    gold = sample["gold"] if isinstance(sample["gold"], list) else [sample["gold"]]
    text = f"{_cut(sample['choices'][number], 300)} <small>{sample['lls'][number]:.3f}</small>"
    if number in gold:
        text = f"<span class=good>{text}</span>"
    return f"<li><b>{text}</b></li>" if number == sample["predicted"] else f"<li>{text}</li>"


def _fold(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>{body}</details>"


def _pre(text: str) -> str:
    return f"<pre>{_cut(text, SHOWN_CHARACTERS)}</pre>"


def _cut(text: str, most: int) -> str:
    return escape(text if len(text) <= most else f"… {text[-most:]}")


def _provenance(own: Mapping[str, TaskResult]) -> str:
    details = {name: result.details for name, result in own.items() if result.details}
    return f"<h2>How it was measured</h2><pre>{escape(json.dumps(details, indent=1, default=str))}</pre>"
