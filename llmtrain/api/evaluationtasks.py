"""What an evaluation task can be."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmtrain.api.base import Model, Path, Rule, cel

TemplateText = Annotated[str, Field(max_length=8192)]


class TaskKind(StrEnum):
    """Benchmarks whose local files are known by shape; named as in lm-evaluation-harness where it has them."""

    ARC_EASY = "arc_easy"
    ARC_CHALLENGE = "arc_challenge"
    HELLASWAG = "hellaswag"
    MMLU = "mmlu"
    TRUTHFULQA_MC1 = "truthfulqa_mc1"
    TRUTHFULQA_MC2 = "truthfulqa_mc2"
    PIQA = "piqa"
    WINOGRANDE = "winogrande"
    BOOLQ = "boolq"
    OPENBOOKQA = "openbookqa"
    COPA = "copa"
    LAMBADA = "lambada_openai"
    GSM8K = "gsm8k"
    FINANCIAL_PHRASEBANK = "financial_phrasebank"
    FIQA = "fiqa"
    HEADLINES = "headlines"
    FINANCIAL_NER = "financial_ner"


class Form(StrEnum):
    """How the answers to choose from are shown. Published: as the benchmark's own template does it."""

    PUBLISHED = "Published"
    CLOZE = "Cloze"
    LETTER = "Letter"


class Perplexity(Model):
    """Perplexity and bits per byte, of the held-out split unless files are given."""

    split: Annotated[str, Field(pattern="^validation$", max_length=16)] = Field("validation", description="The split.")
    files: Annotated[list[Path], Field(max_length=64)] = Field(
        [], description="Files to measure instead of the split, in any format and compression that curation reads."
    )
    text_field: Annotated[str, Field(max_length=64)] = Field("text", description="JSON field that holds the text.")


class TemplateKind(StrEnum):
    """What is asked of the model."""

    MULTIPLE_CHOICE = "MultipleChoice"
    CONTINUATION = "Continuation"
    GENERATION = "Generation"


class GenerationMetric(StrEnum):
    """How generated text is held against the expected one."""

    EXACT_MATCH = "exact_match"
    BLEU = "bleu"
    CHRF = "chrf"
    ROUGE_1 = "rouge1"
    ROUGE_2 = "rouge2"
    ROUGE_L = "rouge_l"


class Template(Model):
    """A task of your own: Jinja templates over the fields of a row. The defaults fit rows of query, choices and gold."""

    kind: TemplateKind = Field(TemplateKind.MULTIPLE_CHOICE, description="What is asked of the model.")
    prompt: TemplateText = Field("{{query}}", description="What the model reads.")
    choices: TemplateText = Field("{{choices}}", description="MultipleChoice: a list of answers.")
    answer: TemplateText = Field(
        "{{gold}}", description="MultipleChoice: index or text of the right one; else the expected text."
    )
    delimiter: Annotated[str, Field(max_length=16)] = Field(" ", description="What stands between prompt and answer.")
    description: TemplateText = Field("", description="What stands once before the examples.")
    metrics: Annotated[list[GenerationMetric], Field(max_length=8)] = Field(
        [GenerationMetric.EXACT_MATCH], description="Generation: how answers are scored."
    )
    stops: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=16)] = Field(
        ["\n"], description="Generation: an answer ends before the first of these."
    )
    max_new_tokens: int = Field(64, ge=1, le=8192, description="Generation: tokens of the longest answer.")


class ChatTemplate(Model):
    """Prompts as conversations, by the template that came with a tokenizer."""

    file: Path | None = Field(
        None,
        description="chat_template.jinja or tokenizer_config.json; default: the one beside `curation.tokenizer.file` or in "
        "`training.continueFrom.huggingFace`.",
    )
    system: TemplateText = Field("", description="System prompt before each conversation; empty: none.")
    few_shot_as_turns: bool = Field(
        True, description="Solved examples are turns before the question; false: one text with it."
    )


class JudgeMode(StrEnum):
    """Pairwise: which of two answers is better, asked in both orders. Rubric: one answer, 1 to 10."""

    PAIRWISE = "Pairwise"
    RUBRIC = "Rubric"


class Opponent(StrEnum):
    """Whose answer ours is compared with."""

    REFERENCE = "Reference"
    FIELD = "Field"


class JudgeTask(Model):
    """Answers to prompts, judged by another model and, on request, by people."""

    mode: JudgeMode = Field(JudgeMode.PAIRWISE, description="How it is judged.")
    prompt: TemplateText = Field("{{prompt}}", description="What the model reads, a Jinja template over a row.")
    rubric: TemplateText = Field(
        "Prefer the answer that is correct, helpful and to the point.", description="What a good answer is."
    )
    opponent: Opponent = Field(Opponent.FIELD, description="Pairwise: the reference model, or a field of the row.")
    opponent_field: Annotated[str, Field(max_length=64)] = Field("reference", description="That field.")
    stops: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=16)] = Field(
        [], description="An answer ends before the first of these."
    )
    max_new_tokens: int = Field(256, ge=1, le=8192, description="Tokens of the longest answer.")
    ratings_file: Path | None = Field(
        None, description="Filled-in copy of this task's `human.csv`: people's ratings, scored beside the judge's."
    )

    @property
    def asks_reference(self) -> bool:
        """Whether the reference model is the opponent."""
        return self.mode is JudgeMode.PAIRWISE and self.opponent is Opponent.REFERENCE

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="!has(self.ratingsFile) || !has(self.mode) || self.mode == 'Pairwise'",
                message="`ratingsFile` may be set only where `mode` is Pairwise",
            )
        )
    }
