"""Answers judged by another model: which of two is better, asked in both orders, or one by a rubric.

Temperature 0; every judgement is kept as it came, with what was asked. A judgement that cannot be read counts as no
judgement and is shown as such.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llmtrain_jobs.evaluation.endpoints.client import Body, Client, first_choice
from llmtrain_jobs.evaluation.finite import whole

OURS, THEIRS, TIE, UNREAD = "ours", "theirs", "tie", "unread"
PAIRWISE_SYSTEM = (
    "You compare two answers to the same prompt. What a good answer is: {rubric}\n"
    "The order of the answers and their length must not sway you. Reason in at most three sentences, then end with "
    "exactly one line: `Verdict: A`, `Verdict: B` or `Verdict: tie`."
)
RUBRIC_SYSTEM = (
    "You grade an answer to a prompt. What a good answer is: {rubric}\n"
    "Reason in at most three sentences, then end with exactly one line: `Score: N`, N a whole number from 1 (useless) "
    "to 10 (perfect)."
)
VERDICT = re.compile(r"verdict\W*(A|B|tie)\b", re.IGNORECASE)
SCORE = re.compile(r"score\W*(10|[1-9])\b", re.IGNORECASE)
REPLY_TOKENS = 300
SEED = 1234


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt."""

    id: int
    prompt: str
    ours: str
    theirs: str


@dataclass(frozen=True)
class Judgement:
    """One prompt's outcome with the judge's own words."""

    id: int
    outcome: str
    score: int | None
    raw: tuple[str, ...]
    pair: Pair

    def to_dict(self) -> dict[str, Any]:
        """For the samples."""
        return asdict(self)


def compare(client: Client, rubric: str, pairs: Sequence[Pair]) -> list[Judgement]:
    """Each pair in both orders: ours wins where both verdicts say so, or one does and the other is a tie."""
    orders = [
        (pair.prompt, *answers) for pair in pairs for answers in ((pair.ours, pair.theirs), (pair.theirs, pair.ours))
    ]
    system = PAIRWISE_SYSTEM.format(rubric=rubric)
    bodies = [_body(system, f"Prompt:\n{p}\n\nAnswer A:\n{a}\n\nAnswer B:\n{b}") for p, a, b in orders]
    replies = client.post_all("chat/completions", bodies, _reply)
    return [_judgement(pair, replies[2 * i], replies[2 * i + 1]) for i, pair in enumerate(pairs)]


def grade(client: Client, rubric: str, answered: Sequence[Pair]) -> list[Judgement]:
    """Each of our answers, 1 to 10."""
    bodies = [
        _body(RUBRIC_SYSTEM.format(rubric=rubric), f"Prompt:\n{pair.prompt}\n\nAnswer:\n{pair.ours}")
        for pair in answered
    ]
    replies = client.post_all("chat/completions", bodies, _reply)
    return [_graded(pair, reply) for pair, reply in zip(answered, replies, strict=True)]


def _body(system: str, user: str) -> Body:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    return {"messages": messages, "temperature": 0, "seed": SEED, "max_tokens": REPLY_TOKENS}


def _reply(answer: Body) -> str:
    return whole(str((first_choice(answer).get("message") or {}).get("content") or ""))


def verdict(reply: str) -> str:
    """A, B, tie, or unread; the last line that says so counts."""
    found = VERDICT.findall(reply)
    last = found[-1] if found else UNREAD
    return last.upper() if last.upper() in ("A", "B") else last.lower()


def _judgement(pair: Pair, straight: str, swapped: str) -> Judgement:
    named = {"A": (OURS, THEIRS), "B": (THEIRS, OURS), TIE: (TIE, TIE), UNREAD: (UNREAD, UNREAD)}
    outcome = agreed(named[verdict(straight)][0], named[verdict(swapped)][1])
    return Judgement(pair.id, outcome, None, (straight, swapped), pair)


def agreed(first: str, second: str) -> str:
    """Both orders' verdicts as one: a contradiction is a tie, half a tie goes to the side that was named."""
    if UNREAD in (first, second):
        return UNREAD
    if first == second:
        return first
    return next((side for side in (first, second) if TIE in (first, second) and side != TIE), TIE)


def _graded(pair: Pair, reply: str) -> Judgement:
    found = SCORE.findall(reply)
    score = int(found[-1]) if found else None
    return Judgement(pair.id, UNREAD if score is None else "graded", score, (reply,), pair)


def win_rate(outcomes: Sequence[str]) -> float:
    """Share of wins, a tie is half a win; of what could be read."""
    read = [outcome for outcome in outcomes if outcome != UNREAD]
    return sum({OURS: 1.0, TIE: 0.5}.get(outcome, 0.0) for outcome in read) / len(read) if read else 0.0
