"""The page itself: a pure function of the facts. Every number of the bill is the status' own."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any

from llmtrain.api.kubeyaml import dump_all
from llmtrain.api.status import Amounts, Split, Stage, StageState, StageStatus
from llmtrain.cost.money import MICRO
from llmtrain.cost.ranges import Range
from llmtrain.ladder.foretold import Foretold
from llmtrain.ladder.progress import FinalLoss, final_loss
from llmtrain.ledger.goodput import goodput_of_billed_time, goodput_of_dollars, score_name, shown
from llmtrain.ledger.now import cost_now_usd
from llmtrain.report.drawing import bars, curve, short
from llmtrain.report.facts import Facts
from llmtrain.text import escaped

JOULES_PER_KWH = 3_600_000
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def render(facts: Facts, made_at: str) -> str:
    """One HTML document that fetches nothing."""
    style = files("llmtrain.report").joinpath("style.css").read_text()
    title = escaped(f"{facts.namespace}/{facts.name}")
    body = "".join(part for part in _sections(facts, made_at) if part)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{style}</style></head><body><main>{body}</main></body></html>\n"
    )


def _sections(facts: Facts, made_at: str) -> Iterable[str]:
    yield _head(facts, made_at)
    yield _bill(facts)
    yield _expected(facts)
    yield _foretold(facts)
    yield _time(facts)
    yield _stages(facts)
    yield _comparison(facts)
    yield _data(facts)
    yield _learning(facts)
    yield _scores(facts)
    yield _attempts(facts)
    yield _record(facts)


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escaped(title)}</h2>{''.join(parts)}</section>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], foot: Sequence[str] = ()) -> str:
    head = "".join(f"<th>{escaped(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in row)}</tr>" for row in rows)
    last = f"<tfoot><tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in foot)}</tr></tfoot>" if foot else ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>{last}</table></div>'


def _head(facts: Facts, made_at: str) -> str:
    status = facts.status
    hours = sum(item.pod_seconds for item in facts.amounts) / 3600
    tiles = [
        (f"${status.ledger.cost_usd}", "cost"),
        (f"${cost_now_usd(status.ledger)}", "cost now"),
        (status.state or "Pending", f"state, {status.stage or 'not started'}"),
        (f"{hours:.3f}", "pod-hours"),
        (f"{sum(item.accelerator_seconds for item in facts.amounts) / 3600:.3f}", "accelerator-hours"),
        (shown(goodput_of_billed_time(status.ledger.entries, Stage.TRAINING)), "goodput of billed time, training"),
        (shown(goodput_of_dollars(status.ledger)), "goodput of dollars"),
    ]
    joules = sum(item.energy_joules for item in facts.status.ledger.entries)
    tiles += [(f"{joules / JOULES_PER_KWH:.3f}", "kWh of the accelerators")] if joules else []
    budget = (facts.spec.get("budget") or {}).get("limitUsd")
    tiles += [(f"${budget}", "budget")] if budget else []
    boxes = "".join(
        f'<div class="tile"><b>{escaped(value)}</b><span>{escaped(name)}</span></div>' for value, name in tiles
    )
    notes = "".join(f'<p class="note">Not on this page: {escaped(text)}</p>' for text in facts.missing)
    summary = next((c for c in status.conditions if c.type == "Succeeded"), None)
    said = f"<p>{escaped(summary.message)}</p>" if summary and summary.message else ""
    return f"<h1>{escaped(facts.namespace)}/{escaped(facts.name)}</h1><p>As of {escaped(made_at)}</p>{said}<div class='tiles'>{boxes}</div>{notes}"


def _bill(facts: Facts) -> str:
    items = facts.amounts
    if not items:
        return _section("Bill", "<p>Nothing has been billed.</p>")
    rows = [_bill_row(item) for item in _merged(items)]
    total = sum(item.cost_micro_usd for item in items)
    foot = ["total", "", "", "", _hours(sum(i.pod_seconds for i in items)), _hours(sum(i.accelerator_seconds for i in items)),
            "", f"${exact_usd(total)}"]  # fmt: skip
    header = ["stage", "role", "plan", "tenure", "pod-hours", "accelerator-hours", "USD per pod-hour", "cost"]
    by_stage = [(s.value, sum(i.cost_micro_usd for i in items if i.stage is s)) for s in Stage]
    drawn = bars([(name, micro, f"${exact_usd(micro)}") for name, micro in by_stage if micro])
    return _section("Bill", drawn, _table(header, rows, foot))


def _merged(items: Sequence[Amounts]) -> list[Amounts]:
    """Settled and provisional of the same kind in one row."""
    rows: dict[tuple[Stage, str, str, str], Amounts] = {}
    for item in items:
        key = (item.stage, item.role, item.plan, item.tenure)
        row = rows.setdefault(key, Amounts(stage=item.stage, role=item.role, plan=item.plan, tenure=item.tenure))
        row.pod_seconds += item.pod_seconds
        row.billed_seconds += item.billed_seconds
        row.accelerator_seconds += item.accelerator_seconds
        row.cost_micro_usd += item.cost_micro_usd
    return list(rows.values())


def _bill_row(item: Amounts) -> list[str]:
    price = item.cost_micro_usd * 3600 / item.pod_seconds / 1e6 if item.pod_seconds else 0.0
    return [item.stage.value, item.role, item.plan, item.tenure, _hours(item.pod_seconds), _hours(item.accelerator_seconds),
            f"{price:.4f}", f"${exact_usd(item.cost_micro_usd)}"]  # fmt: skip


def _hours(seconds: int) -> str:
    return f"{seconds / 3600:.4f}"


def _expected(facts: Facts) -> str:
    """What it was expected to cost, before and now, beside what it has cost."""
    quantiles = [("estimate", facts.status.estimate), ("forecast", facts.status.forecast)]
    rows = [
        [name, *(f"${value}" if value else "-" for value in (found.usd.p10, found.usd.p50, found.usd.p90))]
        for name, found in quantiles
        if found is not None and found.usd.p50
    ]
    if not rows:
        return ""
    ledger = facts.status.ledger
    rows += [[name, "", f"${usd}", ""] for name, usd in (("cost", ledger.cost_usd), ("cost now", cost_now_usd(ledger)))]
    return _section("Expected cost", _table(["", "p10", "p50", "p90"], rows))


def _foretold(facts: Facts) -> str:
    """What the job's ladder has said of it, beside what it came to."""
    told = facts.foretold
    if told is None:
        return ""
    ended = facts.status.state == "Succeeded"
    rows = [_foretold_loss(told, final_loss(facts.status) if ended else None)]
    if told.usd is not None:
        cost = facts.status.ledger.total_micro_usd / MICRO if ended else None
        rows.append(_foretold_row("US dollars", told.usd, cost))
    note = f"<p>By {told.runs} small runs (<code>llmtrain ladder</code>), p10 to p90.</p>"
    return _section("What the ladder foretold", note, _table(["", "p10", "p50", "p90", "came to", ""], rows))


def _foretold_loss(told: Foretold, found: FinalLoss | None) -> list[str]:
    """A loss on held-out text is not held against that of a batch."""
    name = "loss, nats a token"
    if found is None or found.held_out == told.held_out:
        return _foretold_row(name, told.loss, None if found is None else found.nats)
    row = _foretold_row(name, told.loss, None)
    kinds = ("of the last step's batch", "on held-out text")
    said = f"{kinds[found.held_out]}, what was foretold is {kinds[told.held_out]}"
    hint = "" if found.held_out else ": training.evaluateEveryTokens was not set"
    return [*row[:-2], f"{found.nats:,.4f}", said + hint]


def _foretold_row(name: str, told: Range, found: float | None) -> list[str]:
    cells = [name, *(f"{value:,.4f}" for value in (told.p10, told.p50, told.p90))]
    if found is None:
        return [*cells, "-", ""]
    where = "inside" if told.p10 <= found <= told.p90 else "below" if found < told.p10 else "above"
    return [*cells, f"{found:,.4f}", f"{where}, {found / told.p50 - 1:+.1%} of p50"]


def _time(facts: Facts) -> str:
    """Settled time by what it was spent on; all but working is waste."""
    seconds = {
        kind: sum(getattr(entry.split, kind) for entry in facts.status.ledger.entries) for kind in Split.model_fields
    }
    whole = sum(seconds.values())
    if not whole:
        return ""
    rows = [
        (kind, spent, f"{_hours(spent)} h, {100 * spent / whole:.1f} %") for kind, spent in seconds.items() if spent
    ]
    return _section("Where the billed time went", bars(rows))


def _stages(facts: Facts) -> str:
    rows = [_stage_row(stage) for stage in facts.status.stages]
    return (
        _section("Stages", _table(["stage", "state", "attempts", "started", "ended", "artifact"], rows)) if rows else ""
    )


def _stage_row(stage: StageStatus) -> list[str]:
    state = "Reused" if stage.reused else stage.state.value
    shown = stage.state is not StageState.PENDING or stage.reused
    return [stage.name.value, state, str(stage.attempt), stage.start_time or "-" if shown else "-",
            stage.completion_time or "-", stage.artifact or "-"]  # fmt: skip


def _comparison(facts: Facts) -> str:
    rows = facts.status.comparison
    if not rows:
        return ""
    known = [(f"{row.plan} ({row.tenure})", float(row.cost_usd), f"${row.cost_usd}") for row in rows if row.cost_usd]
    unknown = "".join(f"<p>{escaped(row.plan)}: {escaped(row.reason)}.</p>" for row in rows if row.reason)
    drawn = bars(known) if known else ""
    return _section("The same training on other plans", "<p>The same pods at another price.</p>", drawn + unknown)


def _data(facts: Facts) -> str:
    if not facts.documents:
        return ""
    fates = sorted(((k, v) for k, v in facts.documents.items() if k != "read"), key=lambda pair: -pair[1])
    drawn = bars([(name, count, f"{count:,}") for name, count in fates])
    read = facts.documents.get("read", 0)
    note = f"<p>{read:,} documents were read; each has exactly one fate.{_price_of_tokens(facts)}</p>"
    counts = [[name, str(value)] for name, value in sorted(facts.counts.items()) if not isinstance(value, dict | list)]
    return _section("Data", note, drawn, _table(["count", "value"], counts) if counts else "")


def _price_of_tokens(facts: Facts) -> str:
    """What curation has cost a billion tokens kept; empty where it cost nothing or its tokens are not known."""
    micro = sum(item.cost_micro_usd for item in facts.amounts if item.stage is Stage.CURATION)
    tokens = sum(int(facts.counts.get(f"{split}_tokens", 0)) for split in ("train", "validation"))
    return f" ${micro * 1000 / tokens:,.2f} of curation per billion tokens kept." if micro and tokens else ""


def _learning(facts: Facts) -> str:
    points = [(float(p.tokens), p.loss) for p in facts.losses]
    if len(points) < 2:
        return ""
    note = f"<p>{len(points):,} steps, {short(points[-1][0])} tokens; last loss {points[-1][1]:.4f} nats per token.</p>"
    return _section("Loss", note, curve(points, "tokens", "loss"))


def _scores(facts: Facts) -> str:
    rows = [
        [score_name(stage.name, name), value, stage.name.value]
        for stage in facts.status.stages
        for name, value in sorted(stage.scores.items())
    ]
    return _section("Scores", _table(["score", "value", "stage"], rows)) if rows else ""


def _attempts(facts: Facts) -> str:
    rows = [
        [f"{a.stage.value} {a.attempt}", a.reason, a.end_time, f"${exact_usd(a.cost_micro_usd)}", a.message]
        for a in facts.status.history
    ]
    return _section("Attempts", _table(["attempt", "ended as", "at", "cost", "message"], rows)) if rows else ""


def _record(facts: Facts) -> str:
    images = sorted({stage.image for stage in facts.status.stages if stage.image})
    known: dict[str, Any] = {
        "job": f"{facts.namespace}/{facts.name}",
        "uid": facts.uid,
        "seed": facts.spec.get("seed"),
        "images": images,
        "artifacts": {stage.name.value: stage.artifact for stage in facts.status.stages if stage.artifact},
        **({"training": dict(facts.record)} if facts.record else {}),
    }
    note = "<p>The same spec, seed and code give the same curated bytes; finished artifacts are found again by their keys.</p>"
    parts = [f"<pre>{escaped(dump_all([body]))}</pre>" for body in (known, {"spec": dict(facts.spec)})]
    return _section("Reproducibility record", note, *parts)


def exact_usd(micro: int) -> str:
    """Dollars to the microdollar, as the ledger has them."""
    return f"{Decimal(micro) / MICRO:.6f}"


def now_text(now: datetime) -> str:
    """A time for people."""
    return now.strftime("%Y-%m-%d %H:%M UTC")
