"""Instruct models are asked in conversations: the prompts and scores of the harness' own backend with the same template."""

import json
from pathlib import Path
from typing import Any

import pytest
from llmtrain_jobs.curation.tokens import END_OF_TEXT
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation.adapter import CheckpointModel
from llmtrain_jobs.evaluation.chat import Chat, chat_of
from llmtrain_jobs.evaluation.harness import run_parts
from llmtrain_jobs.evaluation.tasks.catalogue import parts_of
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.preflight.stage import check_tasks, task_fingerprint
from lm_eval.api.instance import Instance
from tokenizers import Tokenizer

from tests.unit.jobs.evaluation.models import make_lm, sentences
from tests.unit.jobs.evaluation.peer import peer
from tests.unit.jobs.evaluation.rowsets import choice_rows
from tests.unit.jobs.evaluation.server import serving
from tests.unit.jobs.evaluation.test_parity import TASKS, assert_alike
from tests.unit.jobs.evaluation.world import World, make_world

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "[{{ message['role'] }}] {{ message['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
TOKENS = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}
STRICT = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system prompt') }}{% endif %}" + TEMPLATE


def chat(system: str = "", few_shot_as_turns: bool = True) -> Chat:
    return Chat(TEMPLATE, system, few_shot_as_turns, TOKENS)


@pytest.fixture(scope="module")
def theirs(tokenizer: Tokenizer, model: Transformer) -> Any:
    backend = peer(model, tokenizer, batch_size=8)
    backend.tokenizer.chat_template = TEMPLATE
    backend.tokenizer.add_special_tokens(TOKENS)
    return backend


@pytest.mark.parametrize("few_shot_as_turns", [True, False])
@pytest.mark.parametrize("name", ["few-shot", "written", "last-word"])
def test_prompts_and_scores_are_those_of_the_hugging_face_backend(
    name: str, few_shot_as_turns: bool, tokenizer: Tokenizer, model: Transformer, theirs: Any
) -> None:
    task, rows = TASKS[name]
    plain = make_lm(tokenizer, model)
    how = chat("Be brief.", few_shot_as_turns)
    theirs.chat = how
    ours = CheckpointModel(plain.backend, tokenizer, plain.limits, chat=how)
    mine, other = (run_parts(name, parts_of(task, rows, []), lm, 1234) for lm in (ours, theirs))
    assert mine.samples[0]["prompt"].startswith(f"{END_OF_TEXT}[system] Be brief.{END_OF_TEXT}\n[user] ")
    turns = mine.samples[0]["prompt"].count("[assistant]")
    assert turns == (1 + (task.few_shot or 0) if few_shot_as_turns else 1)
    assert_alike(mine, other)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer, model: Transformer) -> World:
    made = make_world(tmp_path, monkeypatch, tokenizer, model)
    made.write("rows.jsonl", choice_rows(4))
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf/tokenizer_config.json").write_text(json.dumps(TOKENS | {"chat_template": TEMPLATE}))
    return made


TASK = {"name": "choices", "task": "arc_easy", "dataFile": "rows.jsonl"}
CHAT = {"chatTemplate": {"file": "hf/tokenizer_config.json"}}


def test_a_template_and_its_content_are_part_of_what_a_result_is_known_by(world: World) -> None:
    plain, asked = world.run(tasks=[TASK]), world.run(tasks=[TASK], **CHAT)
    assert (plain.outcome, asked.outcome) == ("Succeeded", "Succeeded"), asked.message
    assert plain.artifact != asked.artifact
    shown = world.results(asked.artifact)["tasks"]["choices"]["details"]
    before = task_fingerprint(world.context(tasks=[TASK], **CHAT))
    (world.folder / "hf/tokenizer_config.json").write_text(json.dumps(TOKENS | {"chat_template": TEMPLATE + " "}))
    assert task_fingerprint(world.context(tasks=[TASK], **CHAT)) != before
    again = world.run(tasks=[TASK], **CHAT)
    assert again.artifact != asked.artifact
    assert world.results(again.artifact)["tasks"]["choices"]["details"]["chat"] != shown["chat"]


def test_held_out_text_is_no_conversation(world: World) -> None:
    held_out = {"name": "held-out", "perplexity": {}}
    plain, asked = world.run(tasks=[held_out]), world.run(tasks=[held_out], **CHAT)
    assert plain.scores == asked.scores


def test_what_a_judge_reads_was_asked_in_a_conversation(world: World) -> None:
    world.write("prompts.jsonl", [{"prompt": text, "reference": "gold"} for text in sentences(2, 40)])
    judged = {"name": "answers", "judge": {"maxNewTokens": 4}, "dataFile": "prompts.jsonl"}
    seen: list[str] = []
    encode = CheckpointModel.tok_encode

    def watched(self: CheckpointModel, text: str) -> list[int]:
        seen.append(text)
        return encode(self, text)

    world.monkeypatch.setattr(CheckpointModel, "tok_encode", watched)
    with serving() as server:
        assert world.run(tasks=[judged], judge={"baseUrl": server.url, "model": "m"}, **CHAT).outcome == "Succeeded"
    assert seen == [f"{END_OF_TEXT}[user] {text}{END_OF_TEXT}\n[assistant] " for text in sentences(2, 40)]


def read(world: World, **setting: Any) -> Chat:
    found = chat_of(world.store, world.config({"tasks": [TASK], "chatTemplate": setting}).spec)
    assert found is not None
    return found


def test_the_tokenizer_s_own_template_is_found_beside_it(world: World) -> None:
    config = world.config({"tasks": [TASK], "chatTemplate": {}})
    with pytest.raises(StageError, match=r"`spec\.evaluation\.chatTemplate\.file` must be set"):
        chat_of(world.store, config.spec)
    curation = config.spec.curation
    own = curation.model_copy(update={"tokenizer": curation.tokenizer.model_copy(update={"file": "hf/tokenizer.json"})})
    spec = config.spec.model_copy(update={"curation": own})
    assert chat_of(world.store, spec) == Chat(TEMPLATE, "", True, TOKENS)
    (world.folder / "hf/chat_template.jinja").write_text("{{ messages[0]['content'] }}{{ eos_token }}")
    assert chat_of(world.store, spec) == Chat("{{ messages[0]['content'] }}{{ eos_token }}", "", True, TOKENS)


def test_configs_as_they_are_found(world: World) -> None:
    """Several templates by name, and special tokens as objects."""
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": TEMPLATE}]
    config = {"chat_template": named, "eos_token": {"content": "<|im_end|>", "lstrip": False}, "bos_token": None}
    (world.folder / "c.json").write_text(json.dumps(config))
    found = read(world, file="c.json")
    assert (found.template, found.tokens) == (TEMPLATE, {"eos_token": "<|im_end|>"})


@pytest.mark.parametrize(
    ("text", "setting", "problem"),
    [
        ("{", {}, "is no JSON"),
        ("[]", {}, "must be a JSON object"),
        ('{"eos_token": "x"}', {}, "has no `chat_template`"),
        (json.dumps({"chat_template": "{% for"}), {}, "cannot show turns of user, assistant, user"),
        (json.dumps({"chat_template": "{{ messages[7].content.x }}"}), {}, "cannot show turns"),
        (json.dumps({"chat_template": STRICT}), {"system": "Be brief."}, "no system prompt"),
    ],
)
def test_a_template_that_cannot_be_used_is_told_in_preflight(
    text: str, setting: dict[str, str], problem: str, world: World
) -> None:
    (world.folder / "c.json").write_text(text)
    with pytest.raises(StageError, match=r"`spec\.evaluation\.chatTemplate`") as error:
        check_tasks(world.context(tasks=[TASK], chatTemplate={"file": "c.json"} | setting))
    assert problem in error.value.message


def test_a_turn_s_end_that_the_tokenizer_does_not_know_is_refused(world: World) -> None:
    (world.folder / "c.json").write_text(json.dumps({"chat_template": TEMPLATE, "eos_token": "<|im_end|>"}))
    result = world.run(tasks=[TASK], chatTemplate={"file": "c.json"})
    assert "the job's tokenizer has no token `<|im_end|>`" in result.message


def test_special_tokens_are_text_in_documents_and_in_prompts_but_not_in_conversations(
    tokenizer: Tokenizer, model: Transformer
) -> None:
    cut = Tokenizer.from_str(tokenizer.to_str())
    cut.enable_truncation(8)
    plain = make_lm(cut, model)
    talking = CheckpointModel(plain.backend, cut, plain.limits, chat=chat())
    text = f"A text names {END_OF_TEXT} and goes on for longer than eight tokens. "
    end = plain.eot_token_id
    assert end not in plain.tok_encode(text)
    assert tokenizer.decode(plain.tok_encode(text), skip_special_tokens=False) == text
    assert talking.tok_encode(text).count(end) == 1
    request = Instance("loglikelihood_rolling", {}, (text,), 0)
    assert talking.loglikelihood_rolling([request]) == plain.documents([plain.tok_encode(text)])
