"""Known benchmarks: rows of either shape become the harness' prompts; a random scorer is at chance on every one."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation import guessing
from llmtrain_jobs.evaluation.harness import run_parts
from llmtrain_jobs.evaluation.inputs import row_converter
from llmtrain_jobs.evaluation.results import TaskResult
from llmtrain_jobs.evaluation.tasks.catalogue import parts_of
from llmtrain_jobs.evaluation.tasks.finance import entities_of, entity_f1, score_entities, weighted_f1
from llmtrain_jobs.evaluation.tasks.rows import Fields, RowError, check_rows
from llmtrain_jobs.evaluation.tasks.shapes import SHAPES
from lm_eval.api.model import LM

from llmtrain.api.evaluation import Task, TaskKind
from llmtrain.api.evaluationtasks import Form, GenerationMetric, Template, TemplateKind
from tests.unit.jobs.evaluation.models import sentences

ROWS = 300


class Guesser(LM):
    """Random likelihoods; writes `written`."""

    def __init__(self, written: str = "7") -> None:
        super().__init__()
        self.draw, self.written = random.Random(3), written

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        return [(-10 * self.draw.random() - 1, self.draw.random() < 0.5) for _ in requests]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[float]:
        return [-self.draw.random() for _ in requests]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        return [self.written for _ in requests]


def run(kind: TaskKind, rows: list[Fields], lm: LM | None = None, **fields: Any) -> TaskResult:
    task = Task(name="asked", task=kind, data_file="rows.jsonl", **fields)
    docs = check_rows("rows.jsonl", enumerate(rows, start=1), row_converter(task))
    return run_parts(task.name, parts_of(task, docs, []), lm or Guesser(), task.seed)


def labelled(question: str) -> Callable[[int, list[str]], Fields]:
    labels = ["A", "B", "C", "D"]
    return lambda n, texts: {
        question: texts[0],
        "choices": {"text": texts[1:5], "label": labels},
        "answerKey": labels[n % 4],
    }


PUBLISHED: dict[TaskKind, Callable[[int, list[str]], Fields]] = {
    TaskKind.ARC_EASY: labelled("question"),
    TaskKind.ARC_CHALLENGE: labelled("question"),
    TaskKind.OPENBOOKQA: labelled("question_stem"),
    TaskKind.HELLASWAG: lambda n, t: {"activity_label": "Gardening", "ctx_a": t[0], "ctx_b": "she", "endings": t[1:5], "label": str(n % 4)},
    TaskKind.MMLU: lambda n, t: {"question": t[0], "subject": ("law", "art_history")[n % 2], "choices": t[1:5], "answer": n % 4},
    TaskKind.TRUTHFULQA_MC1: lambda n, t: {"question": t[0], "mc1_targets": {"choices": t[1:5], "labels": [1, 0, 0, 0]}},
    TaskKind.PIQA: lambda n, t: {"goal": t[0], "sol1": t[1], "sol2": t[2], "label": n % 2},
    TaskKind.WINOGRANDE: lambda n, t: {"sentence": f"{t[0]} so _ fell", "option1": "gold", "option2": "oil", "answer": str(1 + n % 2)},
    TaskKind.BOOLQ: lambda n, t: {"passage": t[0], "question": "is it so", "label": n % 2},
    TaskKind.COPA: lambda n, t: {"premise": t[0], "question": "cause", "choice1": t[1], "choice2": t[2], "label": n % 2},
    TaskKind.FINANCIAL_PHRASEBANK: lambda n, t: {"sentence": t[0], "label": n % 3},
    TaskKind.FIQA: lambda n, t: {"sentence": t[0], "target": "FIO", "score": (-0.5, 0.0, 0.5)[n % 3]},
    TaskKind.HEADLINES: lambda n, t: {"sentence": t[0], "question": "does the price rise?", "label": ("no", "yes")[n % 2]},
}  # fmt: skip


def rows_of(kind: TaskKind, count: int = ROWS) -> list[Fields]:
    texts = sentences(5 * count, 17)
    return [PUBLISHED[kind](n, texts[5 * n : 5 * n + 5]) for n in range(count)]


@pytest.mark.parametrize("kind", list(PUBLISHED))
def test_a_random_scorer_is_at_chance_within_three_standard_errors(kind: TaskKind) -> None:
    result = run(kind, rows_of(kind))
    chance = result.guessing[result.primary]["random"]
    assert abs(result.scores[result.primary] - chance) <= 3 * result.errors[result.primary]
    assert result.guessing[result.primary].keys() == {"random", "shortest", "majority"}
    assert result.count == ROWS


WRITTEN: dict[TaskKind, Callable[[int, list[str]], Fields]] = {
    TaskKind.LAMBADA: lambda n, t: {"context": t[0], "continuation": ("gold", "oil", "oil")[n % 3]},
    TaskKind.GSM8K: lambda n, t: {"context": f"{n} and 7?", "chain_of_thought": "so", "answer": str(n)},
    TaskKind.FINANCIAL_NER: lambda n, t: {"sentence": t[0], "entities": [{"text": ("Acme", "Ada", "Ada")[n % 3], "type": "ORG"}]},
}  # fmt: skip


class Babbler(Guesser):
    """Random letters, and a next word that is never the likeliest."""

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        return [(-10 * self.draw.random() - 1, False) for _ in requests]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        return ["".join(self.draw.choices("abcdefgh ,()", k=20)) for _ in requests]


def test_every_benchmark_is_asked_of_a_scorer_that_knows_nothing() -> None:
    assert {*PUBLISHED, *WRITTEN, TaskKind.TRUTHFULQA_MC2} == set(TaskKind)


@pytest.mark.parametrize("kind", list(WRITTEN))
def test_what_is_written_at_random_is_never_right_and_the_commonest_text_is_the_bar(kind: TaskKind) -> None:
    texts = sentences(30, 17)
    result = run(kind, [WRITTEN[kind](n, texts[n : n + 1]) for n in range(30)], Babbler(), few_shot=1)
    metric = "acc" if kind is TaskKind.LAMBADA else result.primary
    assert result.scores[metric] == result.guessing[metric]["random"] == 0.0
    # Two of three have the same answer: of 30 entities written 20 are right, of 30 there are. No two sums are alike.
    assert result.guessing[metric]["majority"] == pytest.approx(1 / 30 if kind is TaskKind.GSM8K else 2 / 3)


def test_the_random_share_of_truth_is_at_chance_on_truthfulqas_second_form() -> None:
    """A scorer that knows nothing gives true and false answers the same weight in the mean."""
    texts = sentences(4 * ROWS, 18)
    rows = [
        {"question": f"why {n}", "mc2_targets": {"choices": texts[4 * n : 4 * n + 4], "labels": [1, 1, 0, 0]}}
        for n in range(ROWS)
    ]
    result = run(TaskKind.TRUTHFULQA_MC2, rows)
    assert abs(result.scores["acc"] - 0.5) <= 3 * result.errors["acc"]
    assert result.guessing["acc"]["random"] == 0.5


def prompt(kind: TaskKind, row: Fields, **fields: Any) -> tuple[str, list[str]]:
    sample = run(kind, [row, row], **fields).samples[0]
    return sample["prompt"], sample["choices"]


MMLU_HEAD = "The following are multiple choice questions (with answers) about art history.\n\n"
PROMPTS: dict[str, tuple[TaskKind, Fields, str, list[str]]] = {
    "arc": (
        TaskKind.ARC_EASY,
        {"query": "Question: Why is it hot?", "choices": ["sun", "moon"], "gold": 0},
        "Question: Why is it hot?\nAnswer:",
        [" sun", " moon"],
    ),
    "piqa": (
        TaskKind.PIQA,
        {"query": "Question: How to boil water?\n", "choices": ["heat it", "cool it"], "gold": 0},
        "Question: How to boil water?\nAnswer:",
        [" heat it", " cool it"],
    ),
    "boolq": (
        TaskKind.BOOLQ,
        {"query": "Passage: It rains.\nQuestion: is it wet?", "choices": ["no", "yes"], "gold": 1},
        "It rains.\nQuestion: is it wet?\nAnswer:",
        [" no", " yes"],
    ),
    "copa": (
        TaskKind.COPA,
        {
            "query": "The man turned on the faucet, therefore",
            "choices": ["the toilet filled.", "Water flowed."],
            "gold": 1,
        },
        "The man turned on the faucet therefore",
        ["  the toilet filled.", "  water flowed."],
    ),
    "winogrande": (
        TaskKind.WINOGRANDE,
        {"context_options": ["Ann met Maria so Maria", "Ann met Maria so Mary"], "continuation": "left.", "gold": 1},
        "Ann met Maria so Maria",
        ["Ann met Maria so Maria", "Ann met Maria so Mary"],
    ),
    "hellaswag": (
        TaskKind.HELLASWAG,
        {
            "activity_label": "Cooking",
            "ctx_a": "A pan is hot.",
            "ctx_b": "the cook",
            "endings": ["adds oil [step]", "runs"],
            "label": "0",
        },
        "Cooking: A pan is hot. The cook",
        [" adds oil ", " runs"],
    ),
    "mmlu": (
        TaskKind.MMLU,
        {"question": "Who?", "subject": "art_history", "choices": ["a", "b", "c", "d"], "answer": 2},
        f"{MMLU_HEAD}Who?\nA. a\nB. b\nC. c\nD. d\nAnswer:",
        [" A", " B", " C", " D"],
    ),
    "fiqa": (
        TaskKind.FIQA,
        {"sentence": "Short $FIO now", "target": "FIO", "score": -0.4},
        "Short $FIO now\nQuestion: what is the sentiment on FIO?\nAnswer:",
        [" negative", " neutral", " positive"],
    ),
}


@pytest.mark.parametrize("name", list(PROMPTS))
def test_rows_become_the_published_prompts(name: str) -> None:
    kind, row, asked, choices = PROMPTS[name]
    assert prompt(kind, row) == (asked, choices)


def test_the_same_question_in_letters_and_as_cloze() -> None:
    _, row, cloze, choices = PROMPTS["arc"]
    assert prompt(TaskKind.ARC_EASY, row, form=Form.LETTER) == (
        "Why is it hot?\nA. sun\nB. moon\nAnswer:",
        [" A", " B"],
    )
    assert prompt(TaskKind.ARC_EASY, row, form=Form.CLOZE) == (cloze, choices)
    _, row, _, _ = PROMPTS["mmlu"]
    assert prompt(TaskKind.MMLU, row, form=Form.CLOZE) == (
        f"{MMLU_HEAD}Question: Who?\nAnswer:",
        [" a", " b", " c", " d"],
    )


def test_a_form_that_a_benchmark_does_not_have_is_refused() -> None:
    with pytest.raises(StageError, match="is possible for arc_challenge"):
        run(TaskKind.WINOGRANDE, rows_of(TaskKind.WINOGRANDE, 2), form=Form.LETTER)


def test_the_last_word_is_predicted_from_all_before_it() -> None:
    result = run(TaskKind.LAMBADA, [{"context": "I don't care about", "continuation": "signs"}] * 2)
    assert (result.samples[0]["prompt"], result.samples[0]["gold"]) == ("I don't care about", " signs")
    assert {"perplexity", "acc"} <= result.scores.keys()


def test_a_sum_is_right_when_its_number_is() -> None:
    rows = [{"context": f"{n} and 7?", "chain_of_thought": "one of both", "answer": "7"} for n in range(3)]
    right = run(TaskKind.GSM8K, rows, Guesser(" It is 3+4.\n#### 7"), few_shot=1)
    assert right.scores["exact_match"] == right.scores["exact_match_strict_match"] == 1.0
    loose = run(TaskKind.GSM8K, rows, Guesser(" So it is 7"), few_shot=1)
    assert (loose.scores["exact_match"], loose.scores["exact_match_flexible_extract"]) == (0.0, 1.0)


def test_examples_are_the_same_for_the_same_seed_and_never_the_question_itself() -> None:
    rows = rows_of(TaskKind.ARC_EASY, 30)
    one, same, other = (
        [sample["prompt"] for sample in run(TaskKind.ARC_EASY, rows, few_shot=3, seed=seed).samples]
        for seed in (1, 1, 2)
    )
    assert one == same != other
    assert all(text.count(f"Question: {row['question']}\n") == 1 for text, row in zip(one, rows, strict=True))


def test_limits_count_questions_over_all_subjects() -> None:
    result = run(TaskKind.MMLU, rows_of(TaskKind.MMLU, 20), limit=5, few_shot=2)
    assert result.count == 5
    assert result.parts.keys() == {"asked_law", "asked_art_history"}


def test_guessers_of_three_questions_are_as_counted_by_hand() -> None:
    samples = [
        {"choices": ["aa", "b"], "gold": 1},
        {"choices": ["a", "bb", "cc", "dd"], "gold": 1},
        {"choices": ["a", "b"], "gold": 0},
    ]
    found = guessing.of_choices(samples)
    assert found["random"] == pytest.approx((1 / 2 + 1 / 4 + 1 / 2) / 3)
    assert found["shortest"] == pytest.approx((1 + 0 + 1 / 2) / 3)
    assert found["majority"] == pytest.approx(2 / 3)


def test_guessers_f1_is_that_of_the_table_to_be_expected() -> None:
    """Four of five questions are of class 0. Majority: F1 of class 0 is 2*4/(5+4), that of class 1 is 0."""
    samples = [{"choices": ["No", "Yes"], "gold": int(n == 4)} for n in range(5)]
    found = guessing.of_classes(samples)
    assert found["majority"] == pytest.approx(4 / 5 * (2 * 4 / 9))
    assert found["shortest"] == pytest.approx(found["majority"])  # `No` is the shorter one
    # At random each class is guessed 2.5 times, right 2 and 0.5 times.
    assert found["random"] == pytest.approx(4 / 5 * (2 * 2 / (4 + 2.5)) + 1 / 5 * (2 * 0.5 / (1 + 2.5)))


def test_the_commonest_text_is_scored_by_the_task_s_own_metric() -> None:
    task = Task(name="w", template=Template(kind=TemplateKind.GENERATION, answer="{{target}}", metrics=[GenerationMetric.ROUGE_1]), data_file="x")  # fmt: skip
    rows = [{"query": f"q {n}", "target": text} for n, text in enumerate(("up a lot", "up a lot", "down"))]
    docs = check_rows("x", enumerate(rows, start=1), row_converter(task))
    result = run_parts("w", parts_of(task, docs, []), Guesser("zzz"), 1234)
    assert result.guessing["rouge1"] == {"majority": pytest.approx(2 / 3)}


def test_entities_are_scored_over_all_documents() -> None:
    docs = [{"target": "Apple (ORG), Tim Cook (PER)"}, {"target": "none"}]
    items = [score_entities(docs[0], [" apple (ORG), Paris (LOC)"])["f1"], score_entities(docs[1], ["none"])["f1"]]
    assert items == [(1, 2, 2), (0, 0, 0)]
    assert entity_f1(items) == 0.5
    assert entities_of("Bank of X (ORG), Y (PER)") == {("bank of x", "ORG"), ("y", "PER")}


def test_named_entities_are_written_and_scored() -> None:
    rows = [{"sentence": text, "entities": [{"text": "Acme", "type": "ORG"}]} for text in sentences(6, 50)]
    assert run(TaskKind.FINANCIAL_NER, rows, Guesser(" Acme (ORG)"), few_shot=2).scores["f1"] == 1.0


def test_weighted_f1_of_a_table_by_hand() -> None:
    """Class 0: precision 2/3, recall 1, F1 0.8; class 1: F1 0; class 2: precision 1, recall 1/2, F1 2/3."""
    items = [(0, 0), (0, 0), (1, 0), (2, 2), (2, 1)]
    assert weighted_f1(items) == pytest.approx((2 * 0.8 + 1 * 0.0 + 2 * 2 / 3) / 5)


BAD_ROWS: list[tuple[TaskKind, Fields, str]] = [
    (TaskKind.ARC_EASY, {"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "C"}, "`answerKey`"),
    (TaskKind.PIQA, {"goal": "g", "sol1": "a", "sol2": "b", "label": 2}, "`label` is 2"),
    (TaskKind.HELLASWAG, {"activity_label": "a", "ctx_a": "b", "ctx_b": "c", "endings": [], "label": "0"}, "`endings`"),
    (TaskKind.MMLU, {"question": "q", "choices": ["a", "b"], "answer": 0}, "4 entries"),
    (TaskKind.TRUTHFULQA_MC1, {"question": "q", "mc1_targets": {"choices": ["a", "b"], "labels": [0, 1]}}, "first choice"),
    (TaskKind.WINOGRANDE, {"sentence": "no gap", "option1": "a", "option2": "b", "answer": "1"}, "must have a _"),
    (TaskKind.GSM8K, {"question": "q", "answer": "seven"}, "####"),
    (TaskKind.COPA, {"query": "It rained", "choices": ["a", "b"], "gold": 0}, "because or therefore"),
    (TaskKind.LAMBADA, {"text": "word"}, "two words"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "row", "expected"), BAD_ROWS)
def test_a_row_that_is_not_what_the_benchmark_needs_is_told(kind: TaskKind, row: Fields, expected: str) -> None:
    with pytest.raises(RowError, match=expected):
        SHAPES[kind](row)
