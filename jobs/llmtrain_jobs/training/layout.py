"""How the processes are divided into data, context, pipeline and tensor dimensions; what is refused, with the arithmetic shown.

Pure, so that preflight can refuse before a GPU is asked for. `TABLE` is what the tests hold against one process, and
docs/parallelism.md shows it; the rules of the CRD (`llmtrain.api.meshes`) refuse the same already at apply.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from llmtrain.api.training import OptimizerName, Parallelism, PipelineSchedule, Sharding


class LayoutError(Exception):
    """The processes cannot be divided like this; the message shows the arithmetic and names the field."""


@dataclass(frozen=True)
class ModelFacts:
    """What the layout needs to know of the model."""

    layers: int
    heads: int
    key_value_heads: int
    feed_forward: int
    vocabulary: int
    context: int
    tied: bool
    per_head_bias: bool = False
    """ALiBi: something that belongs to a head is no parameter."""
    norm_over_heads: bool = False
    """Queries and keys are normalised over all heads together (OLMo 2)."""
    dropout: bool = False


@dataclass(frozen=True)
class Layout:
    """data x context x pipeline x tensor = world. `shard` of the data dimension share one replica's state (Hsdp: fewer than
    all); processes that divide a sequence share it as well."""

    data: int = 1
    pipeline: int = 1
    tensor: int = 1
    sharding: Sharding = Sharding.DDP
    shard: int = 1
    schedule: PipelineSchedule = PipelineSchedule.ONE_F_ONE_B
    virtual: int = 1
    micro_batches: int = 1
    context: int = 1

    @property
    def world(self) -> int:
        """Processes."""
        return self.parts * self.pipeline * self.tensor

    @property
    def parts(self) -> int:
        """Parts that a step's loss is computed in, sequences and parts of sequences, side by side."""
        return self.data * self.context

    @property
    def stages(self) -> int:
        """Parts that the blocks are divided into."""
        return self.pipeline * self.virtual


class Dimension(StrEnum):
    """What is above 1 in a mesh."""

    DATA = "data"
    CONTEXT = "context"
    PIPELINE = "pipeline"
    TENSOR = "tensor"


@dataclass(frozen=True)
class Combination:
    """One row of the table: the dimensions that are above 1, how data parallelism shares state, a pipeline's order."""

    dimensions: frozenset[Dimension]
    sharding: Sharding
    schedule: PipelineSchedule | None = None

    def __str__(self) -> str:
        """For messages."""
        above = " x ".join(dimension.value for dimension in Dimension if dimension in self.dimensions)
        return f"{above} above 1 with sharding {self.sharding.value}" + (
            f", {self.schedule.value}" if self.schedule else ""
        )


def combination(layout: Layout) -> Combination | None:
    """The row that a layout belongs to; None for one process alone."""
    sizes = {Dimension.DATA: layout.data, Dimension.CONTEXT: layout.context, Dimension.PIPELINE: layout.pipeline,
             Dimension.TENSOR: layout.tensor}  # fmt: skip
    above = frozenset(dimension for dimension, size in sizes.items() if size > 1)
    return Combination(above, layout.sharding, layout.schedule if layout.pipeline > 1 else None) if above else None


def _row(sharding: Sharding, *above: Dimension, schedule: PipelineSchedule | None = None) -> Combination:
    return Combination(frozenset(above), sharding, schedule)


_ONE, _INTERLEAVED = PipelineSchedule.ONE_F_ONE_B, PipelineSchedule.INTERLEAVED
TABLE = frozenset({
    _row(Sharding.DDP, Dimension.DATA),
    _row(Sharding.FSDP2, Dimension.DATA),
    _row(Sharding.HSDP, Dimension.DATA),
    _row(Sharding.DDP, Dimension.CONTEXT),
    _row(Sharding.DDP, Dimension.DATA, Dimension.CONTEXT),
    _row(Sharding.FSDP2, Dimension.CONTEXT),
    _row(Sharding.FSDP2, Dimension.DATA, Dimension.CONTEXT),
    _row(Sharding.FSDP2, Dimension.CONTEXT, Dimension.TENSOR),
    _row(Sharding.FSDP2, Dimension.TENSOR),
    _row(Sharding.FSDP2, Dimension.DATA, Dimension.TENSOR),
    _row(Sharding.FSDP2, Dimension.PIPELINE, schedule=_ONE),
    _row(Sharding.FSDP2, Dimension.PIPELINE, schedule=_INTERLEAVED),
    _row(Sharding.FSDP2, Dimension.DATA, Dimension.PIPELINE, schedule=_ONE),
    _row(Sharding.FSDP2, Dimension.DATA, Dimension.PIPELINE, schedule=_INTERLEAVED),
    _row(Sharding.FSDP2, Dimension.PIPELINE, Dimension.TENSOR, schedule=_ONE),
})  # fmt: skip


def layout_of(spec: Parallelism, processes: int) -> Layout:
    """Divide `processes` as the spec asks; raises LayoutError."""
    inner = spec.tensor * spec.pipeline * spec.context
    product = f"tensor {spec.tensor} x pipeline {spec.pipeline} x context {spec.context}"
    if processes % inner:
        raise LayoutError(f"`training.parallelism`: {processes} processes are no multiple of {product} = {inner}")
    data = processes // inner
    if spec.data != "Auto" and int(spec.data) != data:
        raise LayoutError(
            f"`training.parallelism.data` is {spec.data}, but {processes} processes / ({product}) = {data}; set it to "
            f"{data} or Auto"
        )
    shard = _shard_size(spec, data)
    interleaved = spec.pipeline > 1 and spec.schedule is PipelineSchedule.INTERLEAVED
    micro = spec.micro_batches or (2 * spec.pipeline if spec.pipeline > 1 else 1)
    return Layout(data, spec.pipeline, spec.tensor, spec.sharding, shard, spec.schedule,
                  spec.virtual_stages if interleaved else 1, micro, spec.context)  # fmt: skip


def _shard_size(spec: Parallelism, data: int) -> int:
    if spec.sharding is not Sharding.HSDP:
        return data if spec.sharding is Sharding.FSDP2 else 1
    if data == 1:
        return 1
    if spec.shard_size < 2 or data % spec.shard_size or data == spec.shard_size:
        raise LayoutError(
            f"`training.parallelism.shardSize` is {spec.shard_size}; with Hsdp it must be above 1 and divide the {data} "
            "data-parallel processes into two replicas or more (one replica is Fsdp2, shards of one are Ddp)"
        )
    return spec.shard_size


def check(layout: Layout, model: ModelFacts, optimizer: OptimizerName, windows: Sequence[int], masks: bool,
          lengths: Sequence[int] = ()) -> None:  # fmt: skip
    """Refuse what is not in the table. `windows`: sequences of a step, all sizes of the ramp; `lengths`: tokens of a
    sequence, all of the ramp. Raises LayoutError."""
    _check_table(layout)
    inner = layout.tensor * layout.pipeline
    _check_lengths(layout, lengths or [model.context])
    if layout.tensor > 1:
        _check_tensor(layout, model)
    if layout.pipeline > 1:
        _check_pipeline(layout, model, windows, masks)
    if optimizer is OptimizerName.MUON and layout.world > 1 and (layout.sharding is not Sharding.DDP or inner > 1):
        raise LayoutError(
            "`training.optimizer.name` Muon needs whole matrices in every process: it is tested with "
            "`parallelism.sharding` Ddp, tensor 1 and pipeline 1 only"
        )
    if min(windows) < layout.data:
        raise LayoutError(
            f"a step has {min(windows)} sequences for {layout.data} data-parallel processes; raise "
            f"`training.globalBatchTokens` to at least {layout.data} x {model.context} = {layout.data * model.context}"
        )


def _check_table(layout: Layout) -> None:
    row = combination(layout)
    if row is None or row in TABLE:
        return
    inner = layout.tensor * layout.pipeline * layout.context
    raise LayoutError(
        f"`training.parallelism`: {layout.world} processes / (tensor {layout.tensor} x pipeline {layout.pipeline} x context "
        f"{layout.context} = {inner}) = data {layout.data}, and {row} is not tested; with tensor or pipeline above 1 the "
        f"sharding is Fsdp2, with context Ddp or Fsdp2; with two of the three data is 1 (`cluster.workers` for {inner} "
        f"processes), with both tensor and pipeline the schedule is {_ONE.value}, and context does not go with pipeline"
    )


def _check_lengths(layout: Layout, lengths: Sequence[int]) -> None:
    """Context parallelism divides every sequence, and sequence parallelism what that leaves."""
    together = layout.context * layout.tensor
    for length in lengths:
        what = f"`training.parallelism`: a sequence of {length} tokens (`model.contextLength`, `training.sequenceRamp`)"
        _must_divide(what, length, together, f"(context {layout.context} x tensor {layout.tensor} = {together})")


def _must_divide(what: str, size: int, by: int, shown: str) -> None:
    """`what` ends with the size, `shown` is what it is divided by, for people."""
    if size % by:
        raise LayoutError(f"{what} / {shown} leaves {size % by}; it must divide without rest")


def _check_tensor(layout: Layout, model: ModelFacts) -> None:
    if model.tied:
        raise LayoutError(
            "`training.parallelism.tensor` above 1 needs untied embeddings (`architecture.tiedEmbeddings`)"
        )
    if model.per_head_bias:
        raise LayoutError("`training.parallelism.tensor` above 1 does not go with ALiBi positions")
    if model.norm_over_heads:
        raise LayoutError(
            "`training.parallelism.tensor` above 1 does not go with `queryKeyNorm` Width, which spans all heads"
        )
    if model.dropout:
        raise LayoutError("`training.parallelism.tensor` above 1 does not go with dropout: its draws would differ")
    divided = {"heads": model.heads, "key-value heads": model.key_value_heads, "feed-forward width": model.feed_forward,
               "vocabulary": model.vocabulary}  # fmt: skip
    for what, size in divided.items():
        _must_divide(f"`training.parallelism.tensor`: {what} {size}", size, layout.tensor, str(layout.tensor))


def _check_pipeline(layout: Layout, model: ModelFacts, windows: Sequence[int], masks: bool) -> None:
    if model.tied:
        raise LayoutError(
            "`training.parallelism.pipeline` above 1 needs untied embeddings (`architecture.tiedEmbeddings`)"
        )
    if model.dropout:
        raise LayoutError("`training.parallelism.pipeline` above 1 does not go with dropout: its draws would differ")
    if masks:
        raise LayoutError("`training.packing` DocumentMasked is not tested with pipeline above 1")
    if model.layers < layout.stages:
        raise LayoutError(
            f"`training.parallelism.pipeline`: {model.layers} layers cannot fill pipeline {layout.pipeline} x virtual "
            f"{layout.virtual} = {layout.stages} stages"
        )
    if layout.schedule is PipelineSchedule.INTERLEAVED and layout.micro_batches % layout.pipeline:
        raise LayoutError(
            f"`training.parallelism.microBatches`: {layout.micro_batches} / pipeline {layout.pipeline} leaves "
            f"{layout.micro_batches % layout.pipeline}; the interleaved schedule needs a multiple"
        )
    together = layout.data * layout.micro_batches
    for size in windows:
        what = f"`training.globalBatchTokens` or `batchRamp`: {size} sequences"
        _must_divide(what, size, together, f"(data {layout.data} x micro-batches {layout.micro_batches} = {together})")
