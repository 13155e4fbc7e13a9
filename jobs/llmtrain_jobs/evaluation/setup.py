"""The models of one evaluation, connected: ours on the workers, the others behind their endpoints."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from llmtrain.api.evaluation import Evaluation, Task
from llmtrain.api.stageconfig import StageConfig
from llmtrain.api.status import Stage
from llmtrain_jobs.context import Context
from llmtrain_jobs.curation.tokens import table_size
from llmtrain_jobs.evaluation import worker
from llmtrain_jobs.evaluation.adapter import CheckpointModel, Limits
from llmtrain_jobs.evaluation.backend import Backend, RayBackend
from llmtrain_jobs.evaluation.chat import Chat, chat_of
from llmtrain_jobs.evaluation.endpoints.client import Client
from llmtrain_jobs.evaluation.endpoints.keys import api_key
from llmtrain_jobs.evaluation.endpoints.model import EndpointModel
from llmtrain_jobs.evaluation.endpoints.pace import Time
from llmtrain_jobs.evaluation.judged import Judging
from llmtrain_jobs.evaluation.run import Runner, Subject
from llmtrain_jobs.model.config import resolve


@dataclass(frozen=True)
class Models:
    """Who is asked."""

    own: Subject
    reference: Subject | None
    judge: Client | None
    tokenizer: Tokenizer

    @classmethod
    def of(cls, context: Context, evaluation: Evaluation, ray: Any) -> "Models":
        """Ours over the workers of the cluster."""
        tokenizer = worker.load_tokenizer(context.config, context.store)
        limits = limits_of(context.config, tokenizer, evaluation)
        chat = chat_of(context.store, context.config.spec)
        own = Subject(
            CheckpointModel(ray_backend(context, ray), tokenizer, limits, end_of_text(context), chat),
            {"training": context.config.artifacts[Stage.TRAINING], "batchTokens": evaluation.batch_tokens}
            | chat_identity(chat),
        )
        return cls(own, _reference(context, evaluation), _judge(context, evaluation), tokenizer)

    def usage(self) -> dict[str, Any]:
        """Tokens and dollars of the endpoints."""
        reference = self.reference.lm if self.reference else None
        clients = {"judge": self.judge, "reference": reference.client if isinstance(reference, EndpointModel) else None}
        return {role: client.usage.to_dict(client.endpoint) for role, client in clients.items() if client is not None}


def chat_identity(chat: Chat | None) -> dict[str, str]:
    """What a model's results depend on where its prompts are conversations."""
    return {"chat": chat.identity} if chat else {}


def end_of_text(context: Context) -> int | None:
    """The token that curation put behind each document; None: the usual one."""
    manifest = context.store.manifest("curation", context.config.artifacts[Stage.CURATION]) or {}
    found = manifest.get("counts", {}).get("end_of_text")
    return None if found is None else int(found)


def _reference(context: Context, evaluation: Evaluation) -> Subject | None:
    endpoint = evaluation.reference
    if endpoint is None:
        return None
    client = Client(endpoint, api_key(endpoint, "reference"), "spec.evaluation.reference", timing_of(context))
    client.tell = context.tell_part
    return Subject(EndpointModel(client), {"baseUrl": endpoint.base_url, "model": endpoint.model})


def _judge(context: Context, evaluation: Evaluation) -> Client | None:
    endpoint = evaluation.judge
    if endpoint is None:
        return None
    client = Client(endpoint, api_key(endpoint, "judge"), "spec.evaluation.judge", timing_of(context))
    client.tell = context.tell_part
    return client


def timing_of(context: Context) -> Time:
    """Waiting for an endpoint ends where somebody asks the stage to stop."""
    return Time(wait=context.stop.wait, check=context.check_stop)


def runner_of(context: Context, evaluation: Evaluation, models: Models) -> Runner:
    """Everything that tasks need."""
    judging = Judging(context.store, models.tokenizer, models.judge, _opponent(models.reference))
    return Runner(context.config, context.store, evaluation, judging)


def judging_of(context: Context, evaluation: Evaluation, tokenizer: Tokenizer, tasks: Sequence[Task]) -> Judging:
    """The judge and the opponent, as far as these tasks ask them."""
    judged = [task.judge for task in tasks if task.judge is not None]
    opponent = _reference(context, evaluation) if any(judge.asks_reference for judge in judged) else None
    return Judging(context.store, tokenizer, _judge(context, evaluation) if judged else None, _opponent(opponent))


def _opponent(reference: Subject | None) -> EndpointModel | None:
    return reference.lm if reference and isinstance(reference.lm, EndpointModel) else None


def limits_of(config: StageConfig, tokenizer: Tokenizer, evaluation: Evaluation) -> Limits:
    """What plans are made for."""
    dimensions = resolve(config.spec.model, table_size(tokenizer), config.spec.training.tokens)
    return Limits(dimensions.context, dimensions.embedding, evaluation.batch_tokens)


def ray_backend(context: Context, ray: Any) -> Backend:
    """Tasks on the workers: on an accelerator each where the cluster has them, else on a worker's core each."""
    accelerators = int(ray.cluster_resources().get("GPU", 0))
    needs = {"num_gpus": 1, "num_cpus": 0} if accelerators else {"num_gpus": 0, "num_cpus": 1}
    limit = context.config.spec.retry.infrastructure_limit
    raw = ray.put(json.dumps(context.config.to_dict(), sort_keys=True))
    score = ray.remote(max_retries=limit, **needs)(worker.score_batch)
    write = ray.remote(max_retries=limit, **needs)(worker.generate_batch)
    slots = accelerators or max(1, context.config.workers)
    return RayBackend(ray, _Bound(score, raw), _Bound(write, raw), slots, _pause(context))


@dataclass(frozen=True)
class _Bound:
    """A remote function with the stage's config as its first argument."""

    function: Any
    config: Any

    def remote(self, batch: Any) -> Any:
        """A reference to the answers."""
        return self.function.remote(self.config, batch)


def _pause(context: Context) -> Any:
    def pause(done: int, total: int) -> None:
        context.check_stop()
        context.scratch.put_metrics({"llmtrain_evaluation_batches_done": done, "llmtrain_evaluation_batches": total})
        context.tell_part(f"batch {done} of {total}")

    return pause
