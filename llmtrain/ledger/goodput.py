"""Three shares of a run that moved it forward. Each has one definition, this one, and one name wherever it is shown.

- Step efficiency: of the seconds that training spent on steps and on standing still for checkpoints, those of steps that were
  done for the first time. Its own clock, over all attempts; start-up, idle pods and prices are not in it.
- Goodput of billed time: of the billed seconds of a stage's settled heads and workers, those in which its work moved forward.
  Evaluators are left out: they do not step the model.
- Goodput of dollars: of what a job has cost so far, all stages and roles, what was not waste. Of pods alive only the waste that
  is certain is taken off, so it is exact once all of them are settled, and at most too high before.
"""

from collections.abc import Iterable

from llmtrain.api.status import Ledger, LedgerEntry, Split, Stage

EVALUATOR = "evaluator"
KINDS = tuple(Split.model_fields)
WASTE = tuple(kind for kind in KINDS if kind != "working")
FORMER_SCORES = {"goodput": "step_efficiency"}
"""Scores of trainings under names that they had before."""


def step_efficiency(working: float, redone: float, checkpointing: float) -> float | None:
    """0 to 1, of seconds; None before the first step."""
    whole = working + redone + checkpointing
    return working / whole if whole else None


def goodput_of_billed_time(entries: Iterable[LedgerEntry], stage: Stage) -> float | None:
    """Of one stage, 0 to 1; None before any of its pods is settled."""
    found = [entry for entry in entries if entry.stage is stage and entry.role != EVALUATOR]
    billed = sum(entry.billed_seconds for entry in found)
    return sum(entry.split.working for entry in found) / billed if billed else None


def goodput_of_dollars(ledger: Ledger) -> float | None:
    """Of the whole job, 0 to 1; None before anything was billed."""
    told = sum(waste(one.waste) for one in ledger.counted)
    settled = sum(waste(entry.cost_split) for entry in ledger.entries)
    cost = ledger.total_micro_usd
    return 1 - max(told, settled) / cost if cost else None


def waste(split: Split) -> int:
    """What was not work."""
    return sum(getattr(split, kind) for kind in WASTE)


def shown(share: float | None, absent: str = "-") -> str:
    """A share as it is written everywhere."""
    return absent if share is None else f"{share:.3f}"


def score_name(stage: Stage, name: str) -> str:
    """What a score is called now."""
    return FORMER_SCORES.get(name, name) if stage is Stage.TRAINING else name
