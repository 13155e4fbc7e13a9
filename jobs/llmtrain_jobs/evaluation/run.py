"""All tasks of a manifest by one model: each result is stored as it comes, so that none is ever computed twice."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np

from llmtrain.api.evaluation import Evaluation, Task
from llmtrain.api.evaluationtasks import JudgeTask
from llmtrain.api.stageconfig import StageConfig
from llmtrain.api.status import Stage
from llmtrain.storage.keys import EVALUATION_CODE, artifact_key
from llmtrain.storage.store import Store, artifact_folder
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation.adapter import CheckpointModel, Cuts
from llmtrain_jobs.evaluation.endpoints.answers import Answers
from llmtrain_jobs.evaluation.endpoints.model import EndpointModel
from llmtrain_jobs.evaluation.finite import REASON as NOT_FINITE
from llmtrain_jobs.evaluation.finite import json_bytes, strict_json
from llmtrain_jobs.evaluation.harness import run_named, run_parts
from llmtrain_jobs.evaluation.heldout import Document, held_out_result, split_documents
from llmtrain_jobs.evaluation.inputs import Inputs, read_inputs
from llmtrain_jobs.evaluation.judged import Judging, asked_docs
from llmtrain_jobs.evaluation.judged import answers as answers_of
from llmtrain_jobs.evaluation.results import TaskResult
from llmtrain_jobs.evaluation.tasks.catalogue import parts_of
from llmtrain_jobs.evaluation.tasks.texts import text_part

KIND = "evaluation-task"
RESULT, SAMPLES = "result.json", "samples.jsonl"
WRITTEN_KIND, WRITTEN = "evaluation-written", "written.json"


@dataclass(frozen=True)
class Subject:
    """A model under evaluation. `identity` is what its results depend on."""

    lm: CheckpointModel | EndpointModel
    identity: dict[str, Any]


def _without_score(task: Task, error: StageError) -> TaskResult:
    """The result of a task whose likelihoods are not finite; any other error is raised."""
    if error.reason != NOT_FINITE:
        raise error
    return TaskResult(task.name, problem=f"`{task.name}`: {error.message}")


@dataclass(frozen=True)
class Runner:
    """Runs tasks against the job's storage."""

    config: StageConfig
    store: Store
    evaluation: Evaluation
    judging: Judging

    def result(self, task: Task, subject: Subject) -> TaskResult:
        """Stored, or computed and stored; a model without finite likelihoods has a result that says so."""
        key = self._key(task, subject)
        if self.store.manifest(KIND, key):
            return self._stored(key)
        subject.lm.cuts.take()
        subject.lm.seed = task.seed
        answers = Answers(self.store, key)
        self._keep(subject, answers)
        try:
            found = self._compute(task, subject)
        except StageError as error:
            found = _without_score(task, error)
            answers.clear()
            return found
        cuts = subject.lm.cuts.take()
        found.cut_requests, found.cut_tokens = cuts.requests, cuts.tokens
        samples = b"".join(json_bytes(sample) for sample in found.samples)
        files = {RESULT: strict_json(found.to_dict(), indent=1).encode(), SAMPLES: samples}
        self.store.complete(KIND, key, files, {"task": task.name})
        answers.clear()
        return found

    def write(self, task: Task, subject: Subject) -> TaskResult | None:
        """What a judged task needs of our model is written and stored, if it is not; a result where there can be none.

        Whoever is judged needs no model after that.
        """
        if task.judge is None or self.store.manifest(KIND, self._key(task, subject)):
            return None
        try:
            self._written(task, task.judge, read_inputs(self.store, task), subject)
        except StageError as error:
            return _without_score(task, error)
        return None

    def _written(self, task: Task, judge: JudgeTask, inputs: Inputs, subject: Subject) -> list[str]:
        key = self._key_of(task, subject, judged=False)
        name = f"{artifact_folder(WRITTEN_KIND, key)}/{WRITTEN}"
        if self.store.manifest(WRITTEN_KIND, key) is None:
            subject.lm.cuts.take()
            texts = answers_of(subject.lm, [str(doc["prompt"]) for doc in asked_docs(task, inputs)], judge)
            kept = {"texts": texts, "cuts": asdict(subject.lm.cuts.take())}
            files = {WRITTEN: strict_json(kept).encode()}
            self.store.complete(WRITTEN_KIND, key, files, {"task": task.name})
        found = json.loads(self.store.read(name))
        subject.lm.cuts.add(Cuts(**found["cuts"]))
        texts_found: list[str] = found["texts"]
        return texts_found

    def _keep(self, subject: Subject, answers: Answers) -> None:
        """What endpoints answer is kept until the task's result is."""
        self.judging.keep(answers)
        if isinstance(subject.lm, EndpointModel):
            subject.lm.client.answers = answers

    def _stored(self, key: str) -> TaskResult:
        folder = artifact_folder(KIND, key)
        # By line feeds alone: a text may hold a separator of Unicode's, which JSON leaves as it is.
        lines = self.store.read(f"{folder}/{SAMPLES}").decode().split("\n")
        samples = [json.loads(line) for line in lines if line]
        return TaskResult.from_dict(json.loads(self.store.read(f"{folder}/{RESULT}")), samples)

    def _key(self, task: Task, subject: Subject) -> str:
        return self._key_of(task, subject, judged=task.judge is not None)

    def _key_of(self, task: Task, subject: Subject, judged: bool) -> str:
        """`judged`: of the judgements; else of what is scored, or is to be judged."""
        config = task.to_dict()
        if task.judge is not None:
            # People's ratings are added to a stored result; they do not change what was judged.
            config["judge"].pop("ratingsFile", None)
        if judged:
            config["by"] = self.judging.identity(task)
        named = [task.data_file, task.few_shot_file, *(task.perplexity.files if task.perplexity else [])]
        marks = [[file, *self.store.info(file)] for file in named if file]
        parts = {"code": EVALUATION_CODE, "task": config, "model": subject.identity, "files": marks}
        return artifact_key(parts | {"data": self.config.artifacts.get(Stage.CURATION, "") if task.perplexity else ""})

    def _compute(self, task: Task, subject: Subject) -> TaskResult:
        if task.perplexity is not None:
            return self._perplexity(task, subject)
        if task.harness is not None:
            return run_named(task.name, task.harness, task.few_shot, task.limit, subject.lm, task.seed)
        inputs = read_inputs(self.store, task)
        if task.judge is not None:
            return self.judging.result(task, task.judge, inputs, self._written(task, task.judge, inputs, subject))
        found = run_parts(task.name, parts_of(task, inputs.docs, inputs.examples), subject.lm, task.seed)
        found.details |= {
            "dataFile": task.data_file,
            "sha256": inputs.sha256,
            "seed": task.seed,
            "form": task.form.value,
        }
        return found

    def _perplexity(self, task: Task, subject: Subject) -> TaskResult:
        perplexity = task.perplexity
        if perplexity is not None and perplexity.files:
            part = text_part(task, perplexity, self.store)
            return run_parts(task.name, [part], subject.lm, task.seed)
        documents = self._held_out(task.limit)
        if isinstance(subject.lm, CheckpointModel):
            likelihoods = subject.lm.documents([document.tokens for document in documents])
        else:
            likelihoods = subject.lm.texts([self._decode(document.tokens) for document in documents])
        found = held_out_result(task.name, likelihoods, documents)
        counts = self._curation()["counts"]
        if isinstance(subject.lm, CheckpointModel):
            found.scores["unigram_bits_per_byte"] = float(counts["unigram_bits_per_byte"])
        found.details = {"split": "validation", "curation": self.config.artifacts[Stage.CURATION]}
        return found

    def _curation(self) -> dict[str, Any]:
        return self.store.manifest("curation", self.config.artifacts[Stage.CURATION]) or {}

    def _decode(self, tokens: Sequence[int]) -> str:
        text: str = self.judging.tokenizer.decode(list(tokens), skip_special_tokens=False)
        return text

    def _size_of(self, tokens: Sequence[int]) -> int:
        """Bytes of the tokens' text."""
        return len(self._decode(tokens).encode())

    def _held_out(self, limit: int) -> list[Document]:
        """The first documents of the split (0: all), no shard read behind them; a shard's folder is its source."""
        manifest = self._curation()
        end = int(manifest["counts"].get("end_of_text", 0))
        dtype = np.dtype(manifest["counts"]["dtype"]).newbyteorder("<")
        folder = artifact_folder("curation", self.config.artifacts[Stage.CURATION])
        by_source: dict[str, list[str]] = {}
        for name in sorted(file["name"] for file in manifest["files"] if file["name"].startswith("validation/")):
            by_source.setdefault("/".join(name.split("/")[1:-1]), []).append(name)

        def all_documents() -> Iterator[Document]:
            for source, names in by_source.items():
                shards = (np.frombuffer(self.store.read(f"{folder}/{name}"), dtype=dtype) for name in names)
                yield from split_documents(shards, end, self._size_of, source)

        return list(islice(all_documents(), limit or None))
