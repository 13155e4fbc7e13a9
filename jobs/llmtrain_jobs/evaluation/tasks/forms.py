"""The same questions in another form: each answer's text after the question (cloze), or its letter after a list."""

from llmtrain.api.evaluationtasks import Form
from llmtrain_jobs.evaluation.tasks.rows import Fields, RowError
from llmtrain_jobs.evaluation.tasks.shapes import LABELS, Flat


def in_form(form: Form, flat: Flat) -> Fields:
    """{query, choices, gold} in the given form."""
    return letter(flat) if form is Form.LETTER else cloze(flat)


def cloze(flat: Flat) -> Fields:
    """ARC's published form: the answer's own text is scored."""
    return {"query": f"Question: {flat.question}\nAnswer:", "choices": flat.choices, "gold": flat.gold}


def letter(flat: Flat) -> Fields:
    """MMLU's published form: the answers are listed, the letter is scored. Small models are at chance here."""
    if len(flat.choices) > len(LABELS):
        raise RowError(f"`form: Letter` allows at most {len(LABELS)} choices")
    letters = list(LABELS[: len(flat.choices)])
    listed = "".join(f"\n{label}. {choice}" for label, choice in zip(letters, flat.choices, strict=True))
    return {"query": f"{flat.question}{listed}\nAnswer:", "choices": letters, "gold": flat.gold}
