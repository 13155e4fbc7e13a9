"""A user's own task: Jinja templates over the fields of a row, rendered here, so that no code comes with a manifest."""

import ast
from collections.abc import Callable
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmtrain.api.evaluationtasks import Template, TemplateKind
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.evaluation.tasks.metrics import ROUGE, words
from llmtrain_jobs.evaluation.tasks.rows import Fields, RowError, check_choices, encodable, index

UNRENDERED = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
)
ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)


class Renderer:
    """One template of one field of the manifest."""

    def __init__(self, field: str, source: str) -> None:
        """Raises bad input that names the field where the template is malformed."""
        self.field = field
        try:
            self.template = ENVIRONMENT.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise bad_input(f"`{field}` is no Jinja template: {error.message}", "MalformedTemplate") from error

    def text(self, row: Fields) -> str:
        """The template's text for a row."""
        try:
            return self.template.render(row)
        except UNRENDERED as error:
            raise RowError(f"`{self.field}` cannot be rendered: {error}") from error

    def value(self, row: Fields) -> Any:
        """The text read as a Python literal (a list, a number), or the text itself."""
        shown = self.text(row)
        try:
            return ast.literal_eval(shown.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return shown


def converter(template: Template, field: str) -> Callable[[Fields], Fields]:
    """Rows -> {query, choices, gold} or {query, target}; `field` is where the template stands in the manifest."""
    prompt = Renderer(f"{field}.prompt", template.prompt)
    answer = Renderer(f"{field}.answer", template.answer)
    if template.kind is not TemplateKind.MULTIPLE_CHOICE:
        by_words = template.kind is TemplateKind.GENERATION and any(metric in ROUGE for metric in template.metrics)
        return lambda row: {"query": _filled(prompt, row), "target": _expected(answer, row, by_words)}
    choices = Renderer(f"{field}.choices", template.choices)
    return lambda row: _choice_row(prompt, choices, answer, row)


def _filled(renderer: Renderer, row: Fields) -> str:
    text = renderer.text(row)
    if not text.strip():
        raise RowError(f"`{renderer.field}` is empty")
    return encodable(text, renderer.field)


def _expected(renderer: Renderer, row: Fields, by_words: bool) -> str:
    text = _filled(renderer, row)
    if by_words and not words(text):
        raise RowError(f"`{renderer.field}` has no word, so that ROUGE is 0 whatever is written")
    return text


def _choice_row(prompt: Renderer, choices: Renderer, answer: Renderer, row: Fields) -> Fields:
    query, listed = _filled(prompt, row), choices.value(row)
    options = check_choices([str(entry) for entry in listed] if isinstance(listed, list) else listed, choices.field)
    given = answer.text(row).strip()
    written = [option.strip() for option in options]
    gold = written.index(given) if given in written else index(given, answer.field, len(options))
    return {"query": query, "choices": options, "gold": gold}
