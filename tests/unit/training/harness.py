"""A small training without Ray: a model, two sources of random tokens, a store in a folder."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.training.build import engine_of
from llmtrain_jobs.training.checkpoints import Archive, Checkpoints, plain
from llmtrain_jobs.training.group import Group, join
from llmtrain_jobs.training.interval import Interval
from llmtrain_jobs.training.layout import Layout
from llmtrain_jobs.training.ledger import read_ledger, write_ledger
from llmtrain_jobs.training.loop import Parts, Step, Trainer
from llmtrain_jobs.training.mixture import UNITS
from llmtrain_jobs.training.optimizers import OptimizerPlan, Optimizers
from llmtrain_jobs.training.retention import Retention
from llmtrain_jobs.training.schedule import RatePlan
from llmtrain_jobs.training.shards import Source
from llmtrain_jobs.training.stability import SkipLedger, StabilityPlan
from llmtrain_jobs.training.stream import TokenStream
from llmtrain_jobs.training.timeline import Ramp, Timeline
from llmtrain_jobs.training.wrap import ComputePlan

from llmtrain.api.job import Storage
from llmtrain.api.model import Biases
from llmtrain.api.training import Schedule
from llmtrain.storage.store import Store, open_store

CONTEXT, VOCABULARY = 16, 64
MODEL = ModelConfig(
    layers=2, heads=4, embedding=16, feed_forward=32, context=CONTEXT, vocabulary=VOCABULARY, tied=False,
    # Softmax does not see a bias of the keys: its gradient is rounding noise, which no two meshes share.
    biases=Biases.NONE,
)  # fmt: skip
DEEP = replace(MODEL, layers=4)
"""A layer for each of four stages."""
VOLUME = Storage.model_validate({"persistentVolumeClaim": {"claimName": "llm"}})
KEY = "0123456789abcdef"


@dataclass(frozen=True)
class Setup:
    """What a test varies; sizes in windows of CONTEXT tokens."""

    folder: Path
    steps: int = 12
    windows: int = 8
    batch_ramp: tuple[tuple[int, int], ...] = ()
    length_ramp: tuple[tuple[int, int], ...] = ()
    phases: tuple[tuple[int, tuple[int, int]], ...] = ()
    """(tokens, weights of the two sources) of each phase."""
    every: int = 4
    keep: int = 3
    attempt: int = 1
    model: ModelConfig = MODEL
    dtype: torch.dtype = torch.float32
    layout: Layout = field(default_factory=Layout)
    stability: StabilityPlan = field(default_factory=StabilityPlan)
    compute: ComputePlan = field(default_factory=lambda: ComputePlan(micro_batch_sequences=4, loss_chunk_tokens=0))
    optimizer: OptimizerPlan = field(default_factory=lambda: OptimizerPlan(peak_learning_rate=1e-2))
    mask_after: int | None = None
    in_background: bool = True

    @property
    def timeline(self) -> Timeline:
        """All steps."""
        windows = Ramp.of(self.windows, self.batch_ramp)
        lengths = Ramp.of(CONTEXT, self.length_ramp)
        ends = np.cumsum([tokens for tokens, _ in self.phases] or [self.steps * self.windows * CONTEXT])
        return Timeline(CONTEXT, windows, lengths, tuple(int(end) for end in ends))


@dataclass
class Heard:
    """A listener that remembers."""

    store: Store
    rank: int = 0
    steps: list[Step] = field(default_factory=list)
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    left: bool = False
    after_step: Callable[[Step], None] = lambda _: None

    def on_step(self, step: Step) -> None:
        """Remember."""
        self.steps.append(step)
        self.after_step(step)

    def on_reaction(self, ledger: SkipLedger) -> None:
        """As the product does."""
        if self.rank == 0:
            write_ledger(self.store, KEY, ledger)

    def on_evaluation(self, step: int, loss: float) -> None:
        """Remember."""
        self.evaluations.append((step, loss))

    def on_save(self, stall_seconds: float) -> None:
        """Nothing."""

    def on_leaving(self) -> None:
        """Remember."""
        self.left = True


def store_in(folder: Path) -> Store:
    """A store on a volume."""
    return open_store(VOLUME, str(folder), {})


def write_shards(folder: Path, windows: int = 60) -> None:
    """Two sources; the second in two shards."""
    random = np.random.default_rng(0)
    for name, size in (("a", windows), ("b0", windows // 2), ("b1", windows // 3)):
        tokens = random.integers(1, VOCABULARY, size * CONTEXT + 1).astype("<u2")
        tokens[::23] = 0
        tokens.tofile(folder / f"{name}.bin")


def sources_in(folder: Path) -> list[Source]:
    """As written by `write_shards`."""
    names = {"a": ["a.bin"], "b": ["b0.bin", "b1.bin"]}
    files = {name: [folder / file for file in found] for name, found in names.items()}
    return [Source(name, number, files[name], "uint16", CONTEXT, 7) for number, name in enumerate(files)]


def stream_of(setup: Setup) -> TokenStream:
    """Sources with their shares in each phase."""
    shares = [weights for _, weights in setup.phases] or [(1, 1)]
    units = [tuple(UNITS * w // sum(weights) for w in weights) for weights in shares]
    return TokenStream(sources_in(setup.folder), units, setup.mask_after)


def trainer(setup: Setup, stop: Callable[[], bool] = lambda: False, group: Group | None = None) -> Trainer:
    """At its start, or where the newest checkpoint is."""
    group = group or Group(setup.layout)
    torch.manual_seed(3)
    engine = engine_of(Transformer(setup.model).to(setup.dtype), group, setup.compute)
    timeline, store = setup.timeline, store_in(setup.folder)
    archive = Archive(store, KEY, Retention(setup.keep), setup.attempt)
    parts = Parts(
        engine=engine,
        optimizers=Optimizers(engine.modules, setup.optimizer),
        timeline=timeline,
        rates=RatePlan(Schedule.COSINE, 2 * setup.windows * CONTEXT, 0, 0.1, timeline.total_tokens),
        stream=stream_of(setup),
        checkpoints=Checkpoints(archive, group.control, setup.in_background),
        interval=Interval(steps=setup.every),
        group=group,
        compute=setup.compute,
        stability=setup.stability,
        ledger=read_ledger(store, KEY),
    )
    made = Trainer(parts, Heard(store, group.rank), stop)
    made.resume()
    return made


def listener(made: Trainer) -> Heard:
    """Of a trainer."""
    found = made._listener
    assert isinstance(found, Heard)
    return found


def heard(made: Trainer) -> list[Step]:
    """The steps that the listener was told of."""
    return listener(made).steps


def weights(made: Trainer) -> dict[str, torch.Tensor]:
    """All tensors that a checkpoint holds, whole."""
    return {name: plain(tensor).clone() for name, tensor in made.tensors().items()}


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def worlds(size: int, folder: Path, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run `work(rank, ...)` in `size` processes that have joined; what each returned."""
    context = torch.multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.unit.training.harness"])
    meeting = folder / f"meeting-{os.urandom(4).hex()}"
    processes = [
        context.Process(target=_joined, args=(rank, size, str(meeting), work, arguments), daemon=True)
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(900)
        process.kill()
    silent = {rank: p.exitcode for rank, p in enumerate(processes) if not Path(f"{meeting}-{rank}").exists()}
    assert not silent, f"processes that ended without an answer, by rank, with their exit codes (see stderr): {silent}"
    # Tensors in a multiprocessing queue would need their sender to live on.
    return [torch.load(f"{meeting}-{rank}", weights_only=False) for rank in range(size)]


def _joined(rank: int, size: int, meeting: str, work: Callable[..., Any], arguments: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    torch.save(work(rank, *arguments), f"{meeting}-{rank}")
    dist.destroy_process_group()


def in_mesh(setup: Setup) -> Trainer:
    """A trainer of this process in the setup's mesh."""
    return trainer(setup, group=join(setup.layout, torch.device("cpu")))
