"""Judge tasks of a manifest: who answers, who judges, what is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tokenizers import Tokenizer

from llmtrain.api.evaluation import Task
from llmtrain.api.evaluationtasks import JudgeMode, JudgeTask, Opponent
from llmtrain.storage.store import Store
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.evaluation.adapter import CheckpointModel
from llmtrain_jobs.evaluation.endpoints.answers import Answers
from llmtrain_jobs.evaluation.endpoints.client import Client
from llmtrain_jobs.evaluation.endpoints.model import EndpointModel
from llmtrain_jobs.evaluation.generation import Prompt
from llmtrain_jobs.evaluation.inputs import Inputs
from llmtrain_jobs.evaluation.judge import OURS, THEIRS, TIE, UNREAD, Judgement, Pair, compare, grade, win_rate
from llmtrain_jobs.evaluation.ratings import read_ratings, read_sheet
from llmtrain_jobs.evaluation.results import TaskResult
from llmtrain_jobs.evaluation.tasks.rows import Fields


@dataclass(frozen=True)
class Judging:
    """The judge, and the reference that may be the opponent."""

    store: Store
    tokenizer: Tokenizer
    judge: Client | None
    reference: EndpointModel | None

    def usd(self) -> Decimal:
        """What both were paid since they were connected, US dollars."""
        clients = [self.judge, self.reference.client if self.reference else None]
        return sum((client.usage.usd(client.endpoint) for client in clients if client is not None), Decimal(0))

    def keep(self, answers: Answers | None) -> None:
        """Where both keep what they are asked for now."""
        for client in (self.judge, self.reference.client if self.reference else None):
            if client is not None:
                client.answers = answers

    def identity(self, task: Task) -> dict[str, Any]:
        """What a judged result depends on beside the task."""
        opponent = task.judge is not None and task.judge.opponent is Opponent.REFERENCE
        others = [self.judge, self.reference.client if self.reference and opponent else None]
        return {"models": [[o.endpoint.base_url, o.endpoint.model] for o in others if o is not None]}

    def result(self, task: Task, judged: JudgeTask, inputs: Inputs, ours: Sequence[str]) -> TaskResult:
        """Judgements on what our model has written."""
        if self.judge is None:
            raise bad_input(f"`{task.name}`: `spec.evaluation.judge` must be set", "NoJudge")
        docs = asked_docs(task, inputs)
        prompts = [str(doc["prompt"]) for doc in docs]
        theirs = [str(doc["theirs"]) for doc in docs]
        if judged.asks_reference and self.reference is not None:
            theirs = answers(self.reference, prompts, judged)
        pairs = [Pair(number, *row) for number, row in enumerate(zip(prompts, ours, theirs, strict=True))]
        if judged.mode is JudgeMode.RUBRIC:
            found = graded(task.name, grade(self.judge, judged.rubric, pairs))
        else:
            found = compared(task.name, compare(self.judge, judged.rubric, pairs))
        found.details = {"judge": self.judge.endpoint.model, "usage": self.judge.usage.to_dict(self.judge.endpoint),
                         "sha256": inputs.sha256, "rubric": judged.rubric, "mode": judged.mode.value}  # fmt: skip
        return found

    def with_ratings(self, task: Task, found: TaskResult) -> TaskResult:
        """People's ratings beside the judge's, where the manifest names a sheet."""
        file = task.judge.ratings_file if task.judge else None
        if not file or found.skipped or found.problem:
            return found
        outcomes = read_sheet(file, read_ratings(self.store, file), pairs_of(found), task.seed)
        rated = [
            (s["outcome"], o) for s, o in zip(found.samples, outcomes, strict=True) if UNREAD not in (s["outcome"], o)
        ]
        found.scores["human_win_rate"] = win_rate(outcomes)
        found.higher_is_better["human_win_rate"] = True
        found.details["rated"] = sum(outcome != UNREAD for outcome in outcomes)
        if rated:
            found.scores["human_agreement"] = sum(a == b for a, b in rated) / len(rated)
        return found


def asked_docs(task: Task, inputs: Inputs) -> list[Fields]:
    """Rows whose prompts are asked."""
    return inputs.docs[: task.limit] if task.limit else inputs.docs


def answers(lm: CheckpointModel | EndpointModel, prompts: Sequence[str], judged: JudgeTask) -> list[str]:
    """What a model writes to each prompt."""
    stops = tuple(judged.stops)
    if isinstance(lm, EndpointModel):
        return lm.written([(text, Prompt((), judged.max_new_tokens, stops)) for text in prompts])
    options = {"until": list(stops), "max_gen_toks": judged.max_new_tokens}
    shown = [lm.chat.asked(text) for text in prompts] if lm.chat else prompts
    return lm.generate([lm.prompt(text, options) for text in shown])


def compared(name: str, judgements: Sequence[Judgement]) -> TaskResult:
    """Win rate against the opponent; 0.5 is a draw."""
    outcomes = [judgement.outcome for judgement in judgements]
    read = [outcome for outcome in outcomes if outcome != UNREAD]
    found = TaskResult(name, {"win_rate": win_rate(outcomes)}, count=len(judgements), primary="win_rate")
    found.higher_is_better = {"win_rate": True}
    found.parts = {side: {"share": read.count(side) / max(1, len(read))} for side in (OURS, THEIRS, TIE)}
    found.parts[UNREAD] = {"share": outcomes.count(UNREAD) / len(outcomes)}
    return _kept(found, judgements, [{OURS: 1.0, TIE: 0.5}.get(outcome, 0.0) for outcome in read])


def graded(name: str, judgements: Sequence[Judgement]) -> TaskResult:
    """Mean grade, 1 to 10, of what could be read."""
    scores = [float(judgement.score) for judgement in judgements if judgement.score is not None]
    found = TaskResult(name, count=len(judgements), primary="grade", higher_is_better={"grade": True})
    if scores:
        found.scores["grade"] = sum(scores) / len(scores)
    found.parts[UNREAD] = {"share": 1 - len(scores) / len(judgements)}
    return _kept(found, judgements, scores)


def _kept(found: TaskResult, judgements: Sequence[Judgement], values: Sequence[float]) -> TaskResult:
    if len(values) > 1:
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
        found.errors[found.primary] = (variance / len(values)) ** 0.5
    found.samples = [judgement.to_dict() for judgement in judgements]
    return found


def pairs_of(found: TaskResult) -> list[Pair]:
    """The answers that a result's samples speak of."""
    return [Pair(**sample["pair"]) for sample in found.samples]
