"""Rows of known benchmarks in the schema that their publishers use, which the harness' own templates read.

The files of MosaicML's eval gauntlet (query, choices, gold and the like) are brought into that schema. Every function
takes a row and returns one, or raises `RowError`. A row that is returned has what the template reads and nothing else,
each field in one type, so that no row is met later that the harness cannot put beside the others or fill in.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmtrain.api.evaluationtasks import TaskKind
from llmtrain_jobs.evaluation.tasks.rows import Fields, RowError, check_choices, encodable, filled, index, text, texts

LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NUMBER = re.compile(r"#### -?[.,]?[0-9][0-9.,]*\Z")
"""How GSM8K's answers end; the harness looks for the same."""


@dataclass(frozen=True)
class Flat:
    """A multiple-choice question by itself."""

    question: str
    choices: list[str]
    gold: int


def _gauntlet(row: Fields) -> tuple[str, list[str], int]:
    choices = texts(row, "choices")
    return text(row, "query"), choices, index(row.get("gold"), "gold", len(choices))


def _bare(query: str) -> str:
    return query.removeprefix("Question:").removesuffix("Answer:").strip()


def _labelled(choices: list[str], gold: int) -> Fields:
    labels = list(LABELS[: len(choices)])
    return {"choices": {"text": choices, "label": labels}, "answerKey": labels[gold]}


def _check_labelled(row: Fields, question: str) -> Fields:
    choices = row.get("choices")
    if not isinstance(choices, dict):
        raise RowError("`choices` must be an object with `text` and `label`")
    shown = check_choices(choices.get("text"), "choices.text")
    labels = [label.strip() for label in check_choices(_as_texts(choices.get("label")), "choices.label")]
    key = str(_as_text(row.get("answerKey"))).strip()
    if len(set(labels)) != len(shown) or len(labels) != len(shown):
        raise RowError("`choices.label` must have a label of its own for each of `choices.text`")
    if key not in labels:
        raise RowError(f"`answerKey` is {row.get('answerKey')!r}; it must be one of `choices.label`")
    return {question: text(row, question), "choices": {"text": shown, "label": labels}, "answerKey": key}


def _as_texts(value: Any) -> Any:
    return [_as_text(entry) for entry in value] if isinstance(value, list) else value


def _as_text(value: Any) -> Any:
    """A label that was written as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def arc(row: Fields) -> Fields:
    """question, choices {text, label}, answerKey."""
    if "query" not in row:
        return _check_labelled(row, "question")
    query, choices, gold = _gauntlet(row)
    return {"question": _bare(query)} | _labelled(choices, gold)


def openbookqa(row: Fields) -> Fields:
    """question_stem, choices {text, label}, answerKey."""
    if "query" not in row:
        return _check_labelled(row, "question_stem")
    query, choices, gold = _gauntlet(row)
    return {"question_stem": query} | _labelled(choices, gold)


def piqa(row: Fields) -> Fields:
    """goal, sol1, sol2, label."""
    if "query" in row:
        query, choices, gold = _gauntlet(row)
        if len(choices) != 2:
            raise RowError("`choices` must have 2 entries")
        return {"goal": _bare(query), "sol1": choices[0], "sol2": choices[1], "label": gold}
    fields = {name: text(row, name) for name in ("goal", "sol1", "sol2")}
    return fields | {"label": index(row.get("label"), "label", 2)}


def boolq(row: Fields) -> Fields:
    """passage, question, label (1: yes)."""
    if "query" not in row:
        fields = {name: text(row, name) for name in ("passage", "question")}
        label = row.get("label", row.get("answer"))
        return fields | {"label": index(int(label) if isinstance(label, bool) else label, "label", 2)}
    query, choices, gold = _gauntlet(row)
    if sorted(choices) != ["no", "yes"]:
        raise RowError("`choices` must be no and yes")
    passage, mark, question = query.rpartition("\nQuestion:")
    if not mark:
        raise RowError("`query` must be a passage, a line break and `Question:`")
    question = question.removesuffix("Answer:").strip().removesuffix("?")
    return {
        "passage": passage.removeprefix("Passage:").strip(),
        "question": question,
        "label": int(choices[gold] == "yes"),
    }


STAGE_MARK = re.compile(r"\[.*?\]")
"""What the harness takes out of HellaSwag's endings."""
CONNECTORS = {"because": "cause", "therefore": "effect"}


def copa(row: Fields) -> Fields:
    """premise, question (cause or effect), choice1, choice2, label."""
    if "query" not in row:
        fields = {name: text(row, name) for name in ("premise", "question", "choice1", "choice2")}
        if fields["question"] not in CONNECTORS.values():
            raise RowError("`question` must be cause or effect")
        return fields | {"label": index(row.get("label"), "label", 2)}
    query, choices, gold = _gauntlet(row)
    premise, _, connector = query.strip().rpartition(" ")
    if connector not in CONNECTORS or len(choices) != 2:
        raise RowError("`query` must end with because or therefore, and `choices` have 2 entries")
    # The harness drops the premise's last character, which is a full stop in the published files.
    return {"premise": premise.rstrip(" ,.") + ".", "question": CONNECTORS[connector], "choice1": choices[0], "choice2": choices[1],
            "label": gold}  # fmt: skip


def winogrande(row: Fields) -> Fields:
    """sentence with _, option1, option2, answer ("1" or "2")."""
    if "context_options" in row:
        return _from_contexts(row)
    fields = {name: text(row, name) for name in ("sentence", "option1", "option2")}
    if "_" not in fields["sentence"] or str(row.get("answer")) not in ("1", "2"):
        raise RowError("`sentence` must have a _ and `answer` be 1 or 2")
    if not fields["sentence"].split("_", 1)[1].strip():
        raise RowError("`sentence` must go on after the _: the harness scores what follows")
    return fields | {"answer": str(row["answer"])}


def _from_contexts(row: Fields) -> Fields:
    contexts = texts(row, "context_options")
    if len(contexts) != 2:
        raise RowError("`context_options` must have 2 entries")
    gold = index(row.get("gold"), "gold", 2)
    start = _first_difference(*contexts)
    options = [context[start:] for context in contexts]
    if not all(options):
        raise RowError("`context_options` must differ in their last words")
    sentence = f"{contexts[0][:start]}_ {text(row, 'continuation').strip()}"
    return {"sentence": sentence, "option1": options[0], "option2": options[1], "answer": str(gold + 1)}


def _first_difference(one: str, other: str) -> int:
    """Where the first word begins that differs; its first letters may be the same."""
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:same].rfind(" ") + 1


def hellaswag(row: Fields) -> Fields:
    """activity_label, ctx_a, ctx_b, endings, label."""
    fields: Fields = {name: text(row, name) for name in ("activity_label", "ctx_a")}
    if not isinstance(row.get("ctx_b"), str):
        raise RowError("`ctx_b` must be a text")
    endings = texts(row, "endings")
    if not all(STAGE_MARK.sub("", ending).strip() for ending in endings):
        raise RowError("`endings` has an entry that is nothing but marks in brackets, which are not shown")
    return fields | {
        "ctx_b": encodable(row["ctx_b"], "ctx_b"),
        "endings": endings,
        "label": str(index(row.get("label"), "label", len(endings))),
    }


def mmlu(row: Fields) -> Fields:
    """question, subject, choices (4), answer."""
    choices = texts(row, "choices")
    if len(choices) != 4:
        raise RowError("`choices` must have 4 entries")
    subject = filled(_as_text(row.get("subject")) or "general_knowledge", "subject")
    return {"question": text(row, "question"), "subject": subject, "choices": choices,
            "answer": index(row.get("answer"), "answer", 4)}  # fmt: skip


def truthfulqa_mc1(row: Fields) -> Fields:
    """question, mc1_targets {choices, labels}; the harness expects the true one first."""
    return {"question": text(row, "question"), "mc1_targets": _targets(row, "mc1_targets", one=True)}


def truthfulqa_mc2(row: Fields) -> Fields:
    """question, mc2_targets {choices, labels}."""
    return {"question": text(row, "question"), "mc2_targets": _targets(row, "mc2_targets", one=False)}


def _targets(row: Fields, field: str, one: bool) -> Fields:
    given = row.get(field)
    if not isinstance(given, dict):
        raise RowError(f"`{field}` must be an object with `choices` and `labels`")
    choices, labels = check_choices(given.get("choices"), f"{field}.choices"), given.get("labels")
    marked = isinstance(labels, list) and all(isinstance(mark, int) and mark in (0, 1) for mark in labels)
    if not isinstance(labels, list) or not marked or len(labels) != len(choices) or 1 not in labels:
        raise RowError(f"`{field}.labels` must have a 0 or 1 for each choice, and at least one 1")
    if one and (labels[0] != 1 or sum(labels) != 1):
        raise RowError(f"`{field}.labels` must mark the first choice, and no other, as true")
    return {"choices": choices, "labels": [int(mark) for mark in labels]}


def lambada(row: Fields) -> Fields:
    """text, whose last word is predicted."""
    if "continuation" in row:
        return {"text": f"{text(row, 'context').rstrip()} {text(row, 'continuation').strip()}"}
    whole = text(row, "text").strip()
    if " " not in whole:
        raise RowError("`text` must have at least two words")
    return {"text": whole}


def gsm8k(row: Fields) -> Fields:
    """question, answer with `#### number` at its end."""
    if "context" in row:
        thought, number = text(row, "chain_of_thought").rstrip(), str(_as_text(row.get("answer"))).strip()
        return {"question": text(row, "context"), "answer": _ends_in_number(f"{thought}\n#### {number}")}
    return {"question": text(row, "question"), "answer": _ends_in_number(text(row, "answer"))}


def _ends_in_number(answer: str) -> str:
    if not NUMBER.search(answer.rstrip()):
        raise RowError("`answer` must end with ####, a blank and the number in digits from 0 to 9")
    return answer.rstrip()


SHAPES: dict[TaskKind, Callable[[Fields], Fields]] = {
    TaskKind.ARC_EASY: arc,
    TaskKind.ARC_CHALLENGE: arc,
    TaskKind.HELLASWAG: hellaswag,
    TaskKind.MMLU: mmlu,
    TaskKind.TRUTHFULQA_MC1: truthfulqa_mc1,
    TaskKind.TRUTHFULQA_MC2: truthfulqa_mc2,
    TaskKind.PIQA: piqa,
    TaskKind.WINOGRANDE: winogrande,
    TaskKind.BOOLQ: boolq,
    TaskKind.OPENBOOKQA: openbookqa,
    TaskKind.COPA: copa,
    TaskKind.LAMBADA: lambada,
    TaskKind.GSM8K: gsm8k,
}

FLAT: dict[TaskKind, Callable[[Fields], Flat]] = {
    TaskKind.ARC_EASY: lambda row: _flat_labelled(row, "question"),
    TaskKind.ARC_CHALLENGE: lambda row: _flat_labelled(row, "question"),
    TaskKind.OPENBOOKQA: lambda row: _flat_labelled(row, "question_stem"),
    TaskKind.PIQA: lambda row: Flat(row["goal"], [row["sol1"], row["sol2"]], row["label"]),
    TaskKind.BOOLQ: lambda row: Flat(f"{row['passage']}\n{row['question']}?", ["no", "yes"], row["label"]),
    TaskKind.MMLU: lambda row: Flat(row["question"].strip(), row["choices"], row["answer"]),
    TaskKind.TRUTHFULQA_MC1: lambda row: Flat(row["question"], row["mc1_targets"]["choices"], 0),
    TaskKind.HELLASWAG: lambda row: Flat(
        f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}", row["endings"], int(row["label"])
    ),
}
"""Benchmarks that can be asked in another form than the published one."""


def _flat_labelled(row: Fields, question: str) -> Flat:
    choices: Any = row["choices"]
    return Flat(row[question], choices["text"], choices["label"].index(str(row["answerKey"]).strip()))
