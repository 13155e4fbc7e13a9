"""What an exception of a training process comes to: memory is told with the knob to turn, others end an attempt the second time."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from llmtrain_jobs.errors import StageError, bad_input
from llmtrain_jobs.training import worker
from llmtrain_jobs.training.control import Control
from llmtrain_jobs.training.crash import BUILDING, AtStep, at_step, crash_of
from torch.distributed.checkpoint.api import CheckpointException, _wrap_exception

from llmtrain.api.stageconfig import EXIT_CODES, FailureClass, StageConfig
from llmtrain.api.status import Stage
from tests.unit.training.test_build import DATA, KEY, spec_of

CUDA = (
    "CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 3.10 GiB is free."
)
H100 = {"planRef": {"name": "h100"}, "workers": {"replicas": 2, "acceleratorsPerWorker": 4}}
GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.7]:4312"


def at(step: int, error: BaseException) -> AtStep:
    """As the worker raises it."""
    trainer: Any = SimpleNamespace(step=step - 1)
    try:
        with at_step(trainer):
            raise error
    except AtStep as found:
        return found


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


MEMORY: dict[str, BaseException] = {
    "torch": torch.OutOfMemoryError(CUDA),
    "a kernel": RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "NCCL": dist.DistBackendError("NCCL error: unhandled cuda error, Cuda failure 2 'out of memory'"),
    "a compiler": caused(RuntimeError("backend failed"), torch.OutOfMemoryError(CUDA)),
    "a checkpoint's load": CheckpointException("load", {3: _wrap_exception(torch.OutOfMemoryError(CUDA))}),
    "the pod's": RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
    "Python": MemoryError(),
}


@pytest.mark.parametrize("kind", list(MEMORY))
def test_memory_that_runs_out_is_known_by_whoever_says_so(kind: str) -> None:
    crash = crash_of(at(12, MEMORY[kind]), spec_of(cluster=H100, globalBatchTokens=256))
    assert (crash.step, crash.reason, crash.out_of_memory) == (12, "OutOfMemory", True)
    assert crash.message.startswith("step 12: out of memory: lower `training.compute.microBatchSequences` to 1 (2 seq")


KNOBS: dict[str, tuple[dict[str, Any], int, str]] = {
    "a share of the batch": ({"globalBatchTokens": 16 * 8 * 6}, 3, "lower `training.compute.microBatchSequences` to 3 (6 sequences"),
    "of a ramp": ({"globalBatchTokens": 128, "batchRamp": [{"fromTokens": 64, "globalBatchTokens": 512}]}, 3, "to 2 (4 sequences"),
    "as was set": ({"globalBatchTokens": 16 * 8 * 6, "compute": {"microBatchSequences": 5}}, 3, "to 2 (5 sequences"),
    "one at once": ({"globalBatchTokens": 128}, 3, "set `training.compute.recompute` to Full"),
    "recomputed": ({"globalBatchTokens": 128, "compute": {"recompute": "Full"}}, 3, "share the model among more processes"),
    "before the first step": ({"globalBatchTokens": 512}, BUILDING, "share the model among more processes"),
    "of a pipeline": ({"globalBatchTokens": 512, "parallelism": {"pipeline": 2}}, 3, "raise `training.parallelism.microBatches` (it is 4)"),
    "on CPUs": ({"device": "Cpu"}, 3, "raise `training.cluster.workers.memory`"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(KNOBS))
def test_the_knob_is_one_that_can_still_be_turned(case: str) -> None:
    training, step, words = KNOBS[case]
    error = torch.OutOfMemoryError(CUDA)
    crash = crash_of(at(step, error) if step else error, spec_of(cluster=H100, **training))
    assert words in crash.message
    assert "Tried to allocate 9.00 GiB" in crash.message
    assert len(crash.message) < 1000


def test_what_a_lost_process_leaves_to_the_others_is_none_of_theirs() -> None:
    from ray.exceptions import GetTimeoutError

    for error in (RuntimeError(GLOO), dist.DistBackendError("NCCL timeout"), ConnectionResetError(), GetTimeoutError()):
        assert crash_of(at(3, error), spec_of()).of_others
    assert not crash_of(at(3, IndexError("index 300 is out of bounds")), spec_of()).of_others


def test_what_has_words_of_its_own_keeps_them() -> None:
    trainer: Any = SimpleNamespace(step=3)
    with pytest.raises(StageError), at_step(trainer):
        raise bad_input("the data")


class Actor:
    """A control actor whose answers are there at once."""

    def __init__(self) -> None:
        self.control = Control({})

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self.control, name))


class Starts:
    """One process of a training that is started again and again, as long as it raises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, errors: list[BaseException]) -> None:
        self.actor, self.errors, self.count = Actor(), errors, 0
        monkeypatch.setattr(worker, "store_of", lambda _: None)
        monkeypatch.setattr(worker, "rank", lambda: 0)
        monkeypatch.setattr(worker, "tell", lambda answer, seconds=30: answer)
        monkeypatch.setattr(worker, "run", self.run)

    def run(self, *_: Any) -> None:
        self.count += 1
        raise self.errors.pop(0)

    def go(self) -> tuple[str, str, str] | None:
        """The failure that is told when no further start follows."""
        spec = spec_of(cluster=H100, globalBatchTokens=256)
        config = StageConfig(job="j", namespace="n", job_uid="u", stage=Stage.TRAINING, attempt=1, workers=1,
                             head_address="h", spec=spec, artifacts={Stage.CURATION: DATA})  # fmt: skip
        parameters = {"config": config.to_dict(), "control": self.actor, "key": KEY}
        while self.errors:
            try:
                worker.train(parameters)
            except (Exception, CheckpointException):  # noqa: BLE001 -- whatever a process ends with
                continue
            break
        failure: tuple[str, str, str] | None = self.actor.control.state()["failure"]
        return failure


def test_memory_that_runs_out_is_told_once_and_not_tried_fifty_times(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(monkeypatch, [at(7, torch.OutOfMemoryError(CUDA)) for _ in range(51)])
    failure = starts.go()
    assert starts.count == 1
    assert failure is not None
    assert failure[:2] == ("OutOfMemory", "OutOfMemory")
    assert "step 7: out of memory: lower `training.compute.microBatchSequences` to 1" in failure[2]
    assert FailureClass(failure[0]) in EXIT_CODES, "the driver ends with a code that says so"


def test_the_same_exception_at_the_same_step_twice_ends_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(monkeypatch, [at(7, IndexError(f"index {n} at 0x7f{n}a")) for n in range(51)])
    text = "step 7: IndexError: index 1 at 0x7f1a; the same again after a restart, in process 0"
    assert starts.go() == ("Internal", "IndexError", text)
    assert starts.count == 2


def test_of_what_the_library_for_checkpoints_raises_the_same_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = Starts(monkeypatch, [CheckpointException("load", {}) for _ in range(51)])
    assert starts.go() is not None
    assert starts.count == 2


def test_other_exceptions_and_other_steps_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """So are those that follow from the loss of another process, however often they come at one step."""
    starts = Starts(monkeypatch, [at(7, IndexError("a")), at(8, IndexError("a")), at(7, ValueError("a")),
                                  *(at(9, RuntimeError(GLOO)) for _ in range(8))])  # fmt: skip
    assert starts.go() is None
    assert starts.count == 11
