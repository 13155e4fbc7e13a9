"""`LLMTrainingJob`: the status, which the operator alone writes.

Amounts are integer microdollars and integer seconds, so that sums are exact; fields that people read are strings.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from llmtrain.api.base import Wire, one_line
from llmtrain.api.failure import FailureClass
from llmtrain.api.job import Condition
from llmtrain.api.outlook import JobEstimate, JobForecast, Quantiles

Time = Annotated[str, Field(max_length=32)]
Line = Annotated[str, Field(max_length=1024), one_line(1024)]
"""What people read, some of it in the words of others: one line, cut where it is too long."""
Word = Annotated[str, Field(max_length=253), one_line(253)]
"""The same, in a word."""
Key = Annotated[str, Field(max_length=253)]


class Stage(StrEnum):
    """The stages in their order."""

    PREFLIGHT = "Preflight"
    CURATION = "Curation"
    TRAINING = "Training"
    EVALUATION = "Evaluation"


class StageState(StrEnum):
    """Where a stage stands. Stopping: its work is over, its pods are not yet gone."""

    PENDING = "Pending"
    RUNNING = "Running"
    STOPPING = "Stopping"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class StatusModel(Wire):
    """Status parts change within one reconcile, so they are not frozen; what a newer operator wrote is let through."""

    model_config = ConfigDict(frozen=False, extra="ignore")


class Progress(StatusModel):
    """What the stage last said of itself."""

    done: int = Field(0, description="Units done.")
    total: int = Field(0, description="Units in all.")
    unit: Word = Field("", description="What is counted: documents, tokens, questions.")
    share: Word = Field(
        "", description="Share of the whole stage that is done, 0 to 1, where units are those of a step."
    )
    loss: Word = Field("", description="Last training loss.")
    tokens_per_second: Word = Field("", description="Training tokens per second.")
    mfu: Word = Field("", description="Model FLOPs utilisation, causal convention, 0 to 1.")
    checkpoint: Key = Field("", description="Training: newest complete checkpoint.")
    detail: Line = Field("", description="What the stage is doing.")
    working_seconds: int = Field(0, description="Seconds of this attempt in which the work moved forward.")
    redone_seconds: int = Field(0, description="Seconds of this attempt spent on work that was done before.")
    checkpoint_seconds: int = Field(0, description="Seconds of this attempt that stood still for checkpoints.")
    save_seconds: int = Field(0, description="Longest time that one complete save took; 0: not measured.")
    group: Line = Field(
        "", description="Elastic training: indices of the workers that train, or trained last, as 0-3,5."
    )
    workers_done: bool = Field(
        False, description="Evaluation: no worker is needed any more; what is left asks endpoints."
    )
    evaluated_tokens: int = Field(0, description="Training: tokens of the newest checkpoint that was scored.")
    scores: Annotated[dict[str, str], Field(max_length=32)] = Field({}, description="Training: that one's scores.")


class Outcome(StatusModel):
    """How an attempt ended, decided but perhaps not yet settled."""

    state: StageState = Field(description="State that the stage goes to once its pods are gone.")
    reason: Word = Field("", description="Why, in one word.")
    message: Line = Field("", description="Why, for people.")
    retry: bool = Field(False, description="Another attempt follows.")
    counted: bool = Field(False, description="The failure counts against retry.limit.")
    infrastructure: bool = Field(False, description="The failure counts against retry.infrastructureLimit.")
    failure_class: FailureClass | None = Field(None, description="Class of the failure, if it was one.")
    exit_code: int | None = Field(None, description="Exit code of the container that ended the attempt.")
    node: Word = Field("", description="Node that was lost.")
    grace_seconds: int | None = Field(None, description="Seconds that the head has for its save; absent: the pod's.")
    idle: bool = Field(False, description="No failure: the rest of the cluster found no place, so it is given back.")
    idle_micro_usd: int = Field(
        0, description="Microdollars that its placed pods had cost by then while they were idle."
    )


class Phases(StatusModel):
    """Where the time of the current attempt went, as its head told; seconds of the wall clock."""

    working: int = Field(0, description="The work moved forward.")
    redone: int = Field(0, description="Work that was done before.")
    checkpointing: int = Field(0, description="Stood still for checkpoints.")
    placed_time: Time | None = Field(None, description="When a node took the first pod; absent: nothing is held.")
    held_since: Time | None = Field(
        None, description="Since when placed pods can do nothing, as others of the cluster have no place."
    )
    complete_time: Time | None = Field(None, description="When the last pod of the whole cluster started.")
    head_end: Time | None = Field(None, description="When the head's container ended.")
    stop_time: Time | None = Field(None, description="When it was decided that the cluster stops.")


class PhaseSeconds(StatusModel):
    """Seconds of an attempt's phases: those that one worker pod had a part in, or those that it had none in."""

    working: int = Field(0, description="The work moved forward.")
    redone: int = Field(0, description="Work that was done before was done again.")
    checkpointing: int = Field(0, description="Training stood still for checkpoints.")


class WorkerState(StatusModel):
    """One worker slot."""

    index: int = Field(description="Slot of the worker.")
    incarnation: int = Field(1, description="Pods that the slot has had, this one included.")
    released: int = Field(0, description="Of these, pods that were given back; they are no losses.")
    rejections: int = Field(0, description="Of these, the last so many in a row were rejected by their kubelets.")
    elsewhere: PhaseSeconds | None = Field(None, description="What the attempt did without this pod; absent: nothing.")
    last_pod: PhaseSeconds | None = Field(
        None, description="What it did with the slot's pod before this one, whose bill may still be open."
    )
    replaced_for: Word = Field("", description="Why the slot's pod before this one ended, in one word.")


class NodeLoss(StatusModel):
    """How often a stage lost pods with one node."""

    node: Word = Field(description="Name of the node.")
    losses: int = Field(1, description="Attempts and workers lost with it.")


class AttemptRecord(StatusModel):
    """One attempt that is over."""

    stage: Stage = Field(description="The stage.")
    attempt: int = Field(description="Number of the attempt within its stage.")
    start_time: Time | None = Field(None, description="When its pods were asked for.")
    end_time: Time = Field(description="When its last pod was observed gone.")
    reason: Word = Field("", description="Why it ended, in one word.")
    message: Line = Field("", description="Why it ended, for people.")
    failure_class: FailureClass | None = Field(None, description="Class of the failure, if it was one.")
    exit_code: int | None = Field(None, description="Exit code of the container that ended it.")
    node: Word = Field("", description="Node that was lost.")
    checkpoint: Key = Field("", description="Newest complete checkpoint at its end.")
    cost_micro_usd: int = Field(0, description="Microdollars of all its pods.")
    held_seconds: int = Field(0, description="Seconds that placed pods were idle, as others found no place.")
    held_micro_usd: int = Field(0, description="Microdollars that these pods cost in that time.")


class Rate(StatusModel):
    """What a pod's time costs, and by which rule."""

    micro_usd_per_hour: int = Field(0, description="Microdollars per hour.")
    increment_seconds: int = Field(1, description="Billed time is a multiple of this.")
    minimum_seconds: int = Field(0, description="Shortest time that is billed.")
    accelerators: int = Field(0, description="Accelerators that the pod requests of its plan's resource.")


class RolePrice(Rate):
    """What a pod of one role costs. It is fixed when the attempt begins, before any of its pods exists."""

    role: Key = Field(description="head, worker or evaluator.")
    plan: Key = Field("", description="ComputePlan.")
    plan_resource_version: Key = Field("", description="Version of the plan that the price was taken from.")
    tenure: Key = Field("", description="Rented or Owned.")
    load_watts: int = Field(0, description="Power of its accelerators while they work, the building's losses included.")
    idle_watts: int = Field(0, description="The same while they wait.")


class Pace(StatusModel):
    """Steps of a training by its present group of workers, over all attempts: what its speed is the mean of."""

    units: int = Field(0, description="Units that these steps did, those done again included.")
    seconds: int = Field(0, description="Seconds that they took.")
    total: int = Field(0, description="Units of the whole stage.")
    group: Line = Field("", description="Elastic training: the workers.")
    told_units: int = Field(0, description="Units that were done when they were last counted.")
    told_seconds: int = Field(0, description="Seconds of steps of the attempt by then.")


class StageStatus(StatusModel):
    """One stage."""

    name: Stage = Field(description="The stage.")
    state: StageState = Field(StageState.PENDING, description="Where it stands.")
    attempt: int = Field(0, description="Clusters that the stage has had, this one included.")
    failures: int = Field(0, description="Failures that count against retry.limit.")
    infrastructure_failures: int = Field(0, description="Losses that count against retry.infrastructureLimit.")
    fruitless: int = Field(0, description="Attempts in a row that ended without a newer checkpoint; sets the backoff.")
    idle_tries: int = Field(
        0, description="Clusters in a row that were given back as their rest found no place; sets the pause."
    )
    idle_micro_usd: int = Field(
        0, description="Microdollars that idle pods of such tries have cost since the last progress."
    )
    worker_failures: int = Field(0, description="Workers of this attempt that failed by themselves.")
    run_seconds: int = Field(0, description="Seconds that earlier attempts held placed pods.")
    billed_before_micro_usd: int = Field(0, description="The job's bill when this attempt started.")
    image: Annotated[str, Field(max_length=512)] = Field("", description="Image of this attempt's pods.")
    prices: Annotated[list[RolePrice], Field(max_length=3)] = Field(
        [], description="What this attempt's pods cost, by role; absent where no attempt is under way."
    )
    template: Key = Field("", description="Digest of the templates that this attempt's pods are made from.")
    inputs: Annotated[dict[str, Key], Field(max_length=16)] = Field(
        {}, description="Digests of what this attempt took from the manifest and its plans, by part."
    )
    generation: int = Field(0, description="Generation of the manifest that this attempt began with.")
    nonce: Key = Field("", description="Part of the name of this attempt's Secret.")
    checkpoint: Key = Field("", description="Newest complete checkpoint that is known.")
    share: Word = Field("", description="Share of the stage's work that was done when that was last told, 0 to 1.")
    pace: Pace | None = Field(None, description="Training: steps that its present speed is measured by.")
    worked_seconds: int = Field(0, description="Seconds in which the work of earlier attempts moved forward.")
    progress_time: Time | None = Field(None, description="When this attempt last reported something new.")
    node_losses: Annotated[list[NodeLoss], Field(max_length=16)] = Field([], description="Nodes that were lost.")
    start_time: Time | None = Field(None, description="When the first attempt started.")
    attempt_time: Time | None = Field(None, description="When this attempt started.")
    not_before: Time | None = Field(None, description="Pause: the next attempt starts no sooner.")
    completion_time: Time | None = Field(None, description="When its last pod was observed gone.")
    artifact: Key = Field("", description="Key of the complete artifact.")
    reused: bool = Field(False, description="The artifact existed before this job and cost it nothing.")
    outcome: Outcome | None = Field(None, description="How the current attempt ended, while its pods are taken down.")
    workers: Annotated[list[WorkerState], Field(max_length=4096)] = Field([], description="Worker slots.")
    evaluators: Annotated[list[WorkerState], Field(max_length=16)] = Field(
        [], description="Evaluator slots; one that failed too often is given up and is not here."
    )
    parked: Annotated[list[WorkerState], Field(max_length=4096)] = Field(
        [], description="Slots without a pod: given back for now, more than are wanted, or needed no more."
    )
    idle_since: Time | None = Field(None, description="Elastic: since when placed workers have nothing to do.")
    grow_after: Time | None = Field(None, description="Elastic: workers that were given back are asked for again then.")
    grow_tries: int = Field(0, description="Elastic: times in a row that workers were given back.")
    progress: Progress | None = Field(None, description="What the stage last said of itself.")
    scores: Annotated[dict[str, str], Field(max_length=256)] = Field({}, description="Results, metric by name.")
    phases: Phases = Field(Phases(), description="Where the time of the current attempt went.")
    plan: Key = Field("", description="ComputePlan that prices its pods.")
    tenure: Key = Field("", description="Rented or Owned.")
    evaluator_plan: Key = Field("", description="Training: ComputePlan that prices its evaluators.")
    evaluator_tenure: Key = Field("", description="Of that plan.")
    budget_stop_micro_usd: int = Field(
        0, description="Limit that a budget stopped the stage at, microdollars; it goes on once there is more."
    )
    working_pod_seconds: int = Field(0, description="Pod-seconds in which the stage's work moved forward.")
    message: Line = Field("", description="What people should know.")


class Amounts(StatusModel):
    """What pods of one stage, role, plan and tenure owe."""

    stage: Stage = Field(description="The stage.")
    role: Key = Field(description="head, worker or evaluator.")
    plan: Key = Field("", description="ComputePlan.")
    tenure: Key = Field("", description="Rented or Owned.")
    pod_seconds: int = Field(0, description="Seconds from scheduling to the end, or so far.")
    billed_seconds: int = Field(0, description="Seconds after rounding to the plan's increment and minimum.")
    accelerator_seconds: int = Field(0, description="Billed seconds times accelerators.")
    cost_micro_usd: int = Field(0, description="Microdollars.")


class Split(StatusModel):
    """Billed seconds by what they were spent on; they add up to the billed seconds."""

    waiting: int = Field(0, description="On a node, before its volumes and network were ready.")
    pulling: int = Field(0, description="Until its container started: the image.")
    starting: int = Field(0, description="The container ran, the stage's work had not begun.")
    working: int = Field(0, description="The stage's work moved forward.")
    redone: int = Field(0, description="Work that a lost attempt had done already.")
    checkpointing: int = Field(0, description="Work stood still for a checkpoint.")
    stopping: int = Field(
        0, description="After the work was over. Of pods that earlier operators settled, also what `minimum` has now."
    )
    minimum: int = Field(0, description="Beyond the pod's end: what its plan's minimum or increment adds.")


class NodeWaste(StatusModel):
    """What settled pods on one node were billed for and was not work."""

    node: Key = Field("", description="Name of the node; empty: nodes beyond those that are told, or not known.")
    billed_seconds: int = Field(0, description="Billed seconds.")
    cost_micro_usd: int = Field(0, description="Microdollars.")


class CauseWaste(StatusModel):
    """What settled pods were billed for and was not work, for one cause."""

    cause: Word = Field("", description="Why, in one word; empty: causes beyond those that are told.")
    billed_seconds: int = Field(0, description="Billed seconds.")
    cost_micro_usd: int = Field(0, description="Microdollars.")


class LedgerEntry(Amounts):
    """Settled bill of all pods of one stage, role, plan and tenure, as far as it lies in one calendar month."""

    month: Key = Field("", description="The calendar month, UTC, as `2026-11`; absent: an earlier version settled it.")
    pods: int = Field(0, description="Pods that were settled, and ended in this month.")
    split: Split = Field(Split(), description="Billed seconds by what they were spent on.")
    cost_split: Split = Field(Split(), description="The cost, microdollars, by what it was spent on.")
    energy_joules: int = Field(0, description="Electricity of the accelerators, the building's losses included.")


class HighWater(Amounts, Rate):
    """One pod that is not settled. The amounts are what it owes at least, whatever its kubelet reports later."""

    uid: Key = Field(description="The pod's uid.")
    start_time: Time | None = Field(None, description="When its bill starts: when a node took it.")
    alive_seconds: int = Field(0, description="Seconds from its start to when it was last observed alive.")
    doubted: bool = Field(False, description="Its annotation gave another price, which was told and is not used.")
    ended: bool = Field(False, description="It has ended; others that end with it are waited for before it is settled.")


class Counted(StatusModel):
    """What the counters of one stage, role, plan and tenure have told; it never falls."""

    stage: Stage = Field(description="The stage.")
    role: Key = Field(description="head or worker.")
    plan: Key = Field("", description="ComputePlan.")
    tenure: Key = Field("", description="Rented or Owned.")
    waste: Split = Field(Split(), description="Microdollars by kind; what pods alive have wasted for certain is in it.")
    energy_joules: int = Field(0, description="Electricity of the accelerators, pods alive included.")


class Ledger(StatusModel):
    """The bill."""

    entries: Annotated[list[LedgerEntry], Field(max_length=1024)] = Field([], description="What is settled.")
    settled: Annotated[list[Key], Field(max_length=8192)] = Field(
        [], description="Uids of settled pods still in the API."
    )
    high_water: Annotated[list[HighWater], Field(max_length=8192)] = Field([], description="Pods not yet settled.")
    counted: Annotated[list[Counted], Field(max_length=256)] = Field([], description="What the counters have told.")
    waste_by_node: Annotated[list[NodeWaste], Field(max_length=65)] = Field(
        [], description="Waste of settled pods by node, the dearest 64 apart; pods of before this field are not in it."
    )
    waste_by_cause: Annotated[list[CauseWaste], Field(max_length=33)] = Field(
        [], description="The same waste by what it came of, the dearest 32 apart."
    )
    total_micro_usd: int = Field(
        0, description="Cost: what is settled, and what pods alive owe at least, microdollars. It never falls."
    )
    cost_usd: Key = Field("0.00", description="The same, US dollars.")
    cost_now_micro_usd: int = Field(
        0, description="Cost now: the same with pods alive counted up to now, microdollars; it may be corrected down."
    )
    cost_now_usd: Key = Field("", description="The same, US dollars.")
    correction: Line = Field("", description="When, by how much and why cost now was last corrected down.")
    burn_micro_usd_per_hour: int = Field(0, description="Microdollars that the pods alive cost an hour.")
    goodput: Key = Field(
        "",
        description="Goodput of billed time of Training: working over billed seconds of its settled heads and workers, 0 to 1.",
    )


class Waiting(StatusModel):
    """Why the job is not running."""

    reason: Word = Field(description="Why, in one word.")
    message: Line = Field("", description="Why, for people.")
    since: Time = Field(description="Since when.")
    resource: Word = Field("", description="Resource that is missing.")
    pods: Annotated[list[Key], Field(max_length=8)] = Field([], description="Pods that wait, eight at most.")
    pod_count: int = Field(0, description="Pods that wait.")
    held_accelerators: int = Field(0, description="Accelerators that are held and paid for meanwhile.")
    held_micro_usd: int = Field(
        0, description="Microdollars that held, idle pods have cost meanwhile, with earlier tries that were given back."
    )


class Comparison(StatusModel):
    """The training so far, had it run on another plan."""

    plan: Key = Field(description="ComputePlan.")
    tenure: Key = Field(description="Rented or Owned.")
    usd_per_accelerator_hour: Key = Field(description="US dollars per accelerator-hour; empty: it has no accelerator.")
    cost_usd: Key = Field(
        description="US dollars for the same pods for as long as they were billed; empty: the plan has no price for them."
    )
    storage_usd: Quantiles | None = Field(
        None, description="US dollars of storage and egress, in no bill; absent: the plan does not price them."
    )
    reason: Line = Field("", description="Why no more is known of the training on this plan.")
    hours: Quantiles | None = Field(None, description="Hours of the whole training at equal work.")
    whole_usd: Quantiles | None = Field(None, description="US dollars of the whole training at equal work.")
    avoidable_usd: Quantiles | None = Field(None, description="Of these, what would not be spent without this job.")
    usd_per_1e21_flops: Key = Field(
        "", alias="usdPer1e21Flops", description="US dollars for 1e21 floating-point operations of the model."
    )
    usd_per_million_tokens: Key = Field("", description="US dollars for a million tokens.")
    break_even_utilization: Key = Field(
        "", description="Share of its hours from which on the owned plan is the cheaper; empty: never, or rented."
    )


ENDED_STATES = ("Succeeded", "Failed", "Invalid")
"""In which a job is over, unless its manifest is changed."""


class JobStatus(StatusModel):
    """Everything the operator knows of a job."""

    observed_generation: int = Field(0, description="Generation of the spec that this speaks of.")
    stage: Key = Field("", description="Current stage.")
    state: Key = Field("", description="Current state, for people: derived from the conditions.")
    accelerators: int = Field(0, description="Accelerators of pods alive.")
    eta_seconds: int | None = Field(None, description="Seconds until the current stage is done, by its progress.")
    stages: Annotated[list[StageStatus], Field(max_length=4)] = Field([], description="The stages.")
    ledger: Ledger = Field(Ledger(), description="The bill.")
    comparison: Annotated[list[Comparison], Field(max_length=16)] = Field([], description="The same on other plans.")
    estimate: JobEstimate | None = Field(None, description="The bill before the run.")
    forecast: JobForecast | None = Field(None, description="The bill at completion.")
    budget_warned: Key = Field("", description="Highest share of `spec.budget.warnAtShare` that was told.")
    waiting: Waiting | None = Field(None, description="Why the job is not running.")
    history: Annotated[list[AttemptRecord], Field(max_length=32)] = Field(
        [], description="The newest attempts that are over, oldest first."
    )
    completion_time: Time | None = Field(None, description="When the job ended, well or not.")
    conditions: Annotated[list[Condition], Field(max_length=16)] = Field([], description="The summary.")

    def to_dict(self) -> dict[str, Any]:
        """Wire form: what is zero or empty is left out, but for what columns, CEL rules and people's queries read.

        Half of a status is zeros, and the apiserver pays for each of its bytes several times a write.
        """
        written = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        stages = [{"state": stage.state.value, "attempt": stage.attempt} for stage in self.stages]
        ledger = {"costUsd": self.ledger.cost_usd, "totalMicroUsd": self.ledger.total_micro_usd}
        shown = {"stage": self.stage, "state": self.state, "accelerators": self.accelerators, "conditions": []}
        return shown | written | {
            "stages": [always | rest for always, rest in zip(stages, written.get("stages", []), strict=True)],
            "ledger": ledger | written.get("ledger", {}),
        }  # fmt: skip
