"""Prompts as conversations: the template that came with a tokenizer, around what is asked.

Hugging Face's own renderer fills it in, so that a prompt here is the prompt there.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2

from llmtrain.api.evaluationtasks import ChatTemplate
from llmtrain.api.job import JobSpec
from llmtrain.storage.store import Store
from llmtrain_jobs.errors import StageError, bad_input

FIELD = "spec.evaluation.chatTemplate"
TEMPLATE, CONFIG = "chat_template.jinja", "tokenizer_config.json"
MARKS = ("bos_token", "eos_token", "pad_token", "unk_token")
TRIED = [
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "So."},
    {"role": "user", "content": "How?"},
]
Message = Mapping[str, str]


@dataclass(frozen=True)
class Chat:
    """A template with the special tokens that it writes, and how it is used."""

    template: str
    system: str
    few_shot_as_turns: bool
    tokens: Mapping[str, str] = field(default_factory=dict)

    @property
    def end_of_turn(self) -> str:
        """What ends the model's answer; empty where the tokenizer's config does not say."""
        return self.tokens.get("eos_token", "")

    @property
    def identity(self) -> str:
        """Hash of all that prompts depend on."""
        parts = [self.template, self.system, self.few_shot_as_turns, sorted(self.tokens.items())]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def render(self, messages: Sequence[Message], is_answered: bool = False) -> str:
        """The conversation, open for the model's answer unless its beginning is given.

        Raises bad input where the template refuses it, as many do two turns of one role or a system prompt.
        """
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            rendered, _ = render_jinja_template(
                conversations=[[dict(message) for message in messages]],
                chat_template=self.template,
                add_generation_prompt=not is_answered,
                continue_final_message=is_answered,
                **self.tokens,
            )
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise bad_input(f"`{FIELD}`: the template cannot show turns of {roles}: {error}", "ChatTemplate") from error
        return str(rendered[0])

    def asked(self, text: str) -> str:
        """One question by itself."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return self.render([*system, {"role": "user", "content": text}])


def chat_of(store: Store, spec: JobSpec) -> Chat | None:
    """The job's, read and tried; None: prompts are plain text."""
    setting = spec.evaluation.chat_template if spec.evaluation else None
    if setting is None:
        return None
    file = template_file(store, spec, setting)
    text = _text(store, file)
    folder = file.rpartition("/")[0]
    beside = f"{folder}/{CONFIG}" if folder else CONFIG
    is_config = file.endswith(".json")
    config = _config(text, file) if is_config else _config(_text(store, beside), beside) if store.glob(beside) else {}
    template = _own(config, file) if is_config else text
    chat = Chat(template, setting.system, setting.few_shot_as_turns, _tokens(config))
    chat.render([*([{"role": "system", "content": chat.system}] if chat.system else []), *TRIED])
    return chat


def files_of_chat(store: Store, spec: JobSpec) -> list[str]:
    """What it is read from, for the fingerprint."""
    setting = spec.evaluation.chat_template if spec.evaluation else None
    if setting is None:
        return []
    file = template_file(store, spec, setting)
    beside = f"{file.rpartition('/')[0]}/{CONFIG}".removeprefix("/")
    return sorted({file, *([beside] if store.glob(beside) else [])})


def template_file(store: Store, spec: JobSpec, setting: ChatTemplate) -> str:
    """The file that is named, else the one beside the tokenizer or the model that the job takes."""
    if setting.file:
        return setting.file
    tokenizer = spec.curation.tokenizer.file
    model = spec.training.continue_from.hugging_face if spec.training.continue_from else None
    folders = [tokenizer.rpartition("/")[0]] if tokenizer else []
    folders += [model.rstrip("/")] if model else []
    names = [f"{folder}/{name}".removeprefix("/") for folder in folders for name in (TEMPLATE, CONFIG)]
    found = next((name for name in names if store.glob(name)), None)
    if found is None:
        looked = f"none of {', '.join(names)} exists" if names else "the job takes no tokenizer of Hugging Face's"
        raise bad_input(f"`{FIELD}.file` must be set: {looked}", "ChatTemplate")
    return found


def _text(store: Store, file: str) -> str:
    with store.open(file) as stream:
        try:
            return str(stream.read().decode())
        except UnicodeDecodeError as error:
            raise _wrong(file, f"is no UTF-8 ({error})") from error


def _config(text: str, file: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(file, f"is no JSON ({error})") from error
    if not isinstance(config, dict):
        raise _wrong(file, "must be a JSON object")
    return config


def _own(config: Mapping[str, Any], file: str) -> str:
    """The tokenizer's own template; of several by name the default one."""
    own = config.get("chat_template")
    if isinstance(own, list):
        named = {entry.get("name"): entry.get("template") for entry in own if isinstance(entry, dict)}
        own = named.get("default")
    if not isinstance(own, str) or not own.strip():
        raise _wrong(file, "has no `chat_template`, or none named default")
    return own


def _tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """Special tokens by name; older files have each as an object with its text in `content`."""
    found: dict[str, str] = {}
    for mark in MARKS:
        given = config.get(mark)
        text = given.get("content") if isinstance(given, dict) else given
        found |= {mark: text} if isinstance(text, str) else {}
    return found


def _wrong(file: str, problem: str) -> StageError:
    return bad_input(f"`{FIELD}`: `{file}` {problem}", "ChatTemplate")
