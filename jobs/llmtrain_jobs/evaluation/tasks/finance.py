"""The in-domain sets that BloombergGPT (Wu et al. 2023, section 5.3) was measured on, in its way of asking.

Sentiment and headlines are multiple choice, scored by accuracy and by F1 averaged over classes with their sizes as
weights; named entities are written out by the model and scored by F1 over entities.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from llmtrain.api.evaluationtasks import TaskKind
from llmtrain_jobs.evaluation.tasks.rows import Fields, RowError, index, text

SENTIMENTS = ["negative", "neutral", "positive"]
NEUTRAL_BAND = 0.1
"""FiQA's scores are continuous; classes as in FinGPT's and later work: neutral within 0.1 of zero."""
ENTITY_KINDS = ("PER", "LOC", "ORG", "MISC")
Entity = tuple[str, str]


def phrasebank(row: Fields) -> Fields:
    """sentence, label (index or name): the Financial PhraseBank."""
    return _sentiment(f"{text(row, 'sentence')}\nQuestion: what is the sentiment?\nAnswer:", _class(row.get("label")))


def fiqa(row: Fields) -> Fields:
    """sentence, target, score in -1..1: FiQA 2018, task 1."""
    score = row.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not -1 <= score <= 1:
        raise RowError(f"`score` is {score!r}; it must be a number from -1 to 1")
    gold = 1 if abs(score) < NEUTRAL_BAND else (2 if score > 0 else 0)
    question = f"what is the sentiment on {text(row, 'target')}?"
    return _sentiment(f"{text(row, 'sentence')}\nQuestion: {question}\nAnswer:", gold)


def _class(label: Any) -> int:
    if isinstance(label, str) and label.lower() in SENTIMENTS:
        return SENTIMENTS.index(label.lower())
    return index(label, "label", len(SENTIMENTS))


def _sentiment(query: str, gold: int) -> Fields:
    return {"query": query, "choices": SENTIMENTS, "gold": gold}


def headlines(row: Fields) -> Fields:
    """sentence, question, label (no or yes): the gold commodity headlines."""
    label = str(row.get("label")).lower()
    gold = ["no", "yes"].index(label) if label in ("no", "yes") else index(row.get("label"), "label", 2)
    query = f"{text(row, 'sentence')}\nQuestion: {text(row, 'question')}\nAnswer:"
    return {"query": query, "choices": ["No", "Yes"], "gold": gold}


def ner(row: Fields) -> Fields:
    """sentence, entities [{text, type}]: the model lists `text (TYPE)`, separated by commas, or none."""
    entities = row.get("entities")
    if not isinstance(entities, list):
        raise RowError("`entities` must be a list of {text, type}")
    listed = []
    for entity in entities:
        if not isinstance(entity, dict) or entity.get("type") not in ENTITY_KINDS:
            raise RowError(f"`entities[].type` must be one of {', '.join(ENTITY_KINDS)}")
        listed.append(f"{text(entity, 'text')} ({entity['type']})")
    query, target = (
        f"{text(row, 'sentence')}\nQuestion: which named entities are there?\nAnswer:",
        ", ".join(listed) or "none",
    )
    if not all(name for name, _ in entities_of(target)):
        raise RowError("`entities[].text` must not end in brackets: an entity is written as `text (TYPE)`")
    return {"query": query, "target": target}


ENTITY = re.compile(r"([^,()]+)\((PER|LOC|ORG|MISC)\)")


def entities_of(answer: str) -> set[Entity]:
    """(text, type) of every entity in a written list."""
    return {(name.strip().lower(), kind) for name, kind in ENTITY.findall(answer)}


def score_entities(doc: Fields, results: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """The harness' `process_results`: (right, found, there) of one document, put together by `entity_f1`."""
    there, found = entities_of(doc["target"]), entities_of(results[0])
    return {"f1": (len(there & found), len(found), len(there))}


def entity_f1(items: Sequence[tuple[int, int, int]]) -> float:
    """F1 over all entities of all documents; 1 where there are none and none were found."""
    right, found, there = (sum(column) for column in zip(*items, strict=True))
    return 2 * right / (found + there) if found + there else 1.0


def weighted_f1(items: Sequence[tuple[int, int]]) -> float:
    """F1 of each class, averaged with the classes' sizes as weights; items are (gold, predicted)."""
    pairs = Counter((int(gold), int(predicted)) for gold, predicted in items)
    there, found = Counter[int](), Counter[int]()
    for (gold, predicted), count in pairs.items():
        there[gold] += count
        found[predicted] += count
    scores = {kind: 2 * pairs[kind, kind] / (there[kind] + found[kind]) for kind in there}
    return sum(there[kind] * score for kind, score in scores.items()) / len(items)


FINANCE: dict[TaskKind, Callable[[Fields], Fields]] = {
    TaskKind.FINANCIAL_PHRASEBANK: phrasebank,
    TaskKind.FIQA: fiqa,
    TaskKind.HEADLINES: headlines,
    TaskKind.FINANCIAL_NER: ner,
}
