"""What a run tells Prometheus and the operator. Pure."""

import math
from collections.abc import Mapping
from typing import Any

from llmtrain.api.status import Progress
from llmtrain_jobs.training.accounts import Accounts

PREFIX = "llmtrain_train_"
GAUGES = {"loss": "loss", "gradient_norm": "gradient_norm", "learning_rate": "learning_rate", "mfu": "mfu_ratio",
          "tokens_per_second": "tokens_per_second", "memory": "memory_bytes"}  # fmt: skip


def metrics_of(state: Mapping[str, Any], total_tokens: int) -> dict[str, float]:
    """All series by name; names that end in _total only rise within an attempt."""
    last, accounts = state["last"], Accounts.from_dict(state["accounts"])
    values = {name: float(last[key]) for key, name in GAUGES.items()}
    values |= {
        "tokens_total": float(last["tokens"]),
        "steps_total": float(last["step"]),
        "working_seconds_total": accounts.working,
        "redone_seconds_total": accounts.redone,
        "redone_steps_total": float(accounts.redone_steps),
        "skipped_steps_total": float(accounts.skipped_steps),
        "checkpoint_stall_seconds_total": accounts.checkpointing,
        "data_wait_seconds_total": accounts.waiting_for_data,
        "rollbacks_total": float(state["counts"]["roll_backs"]),
        "restarts_total": float(max(0, state["counts"]["restarts"])),
        "step_efficiency_ratio": accounts.step_efficiency,
        "goodput_ratio": accounts.step_efficiency,  # its former name
        "last_checkpoint_step": float(state["saved"]),
        "eta_seconds": eta_seconds(last, total_tokens),
        "world_size": float(state["world"]),
    }
    if state["validation_loss"] is not None:
        values["validation_loss"] = state["validation_loss"]
    return {PREFIX + name: value for name, value in values.items()}


def eta_seconds(last: Mapping[str, Any], total_tokens: int) -> float:
    """Seconds until all tokens are seen, at the last step's rate."""
    return float(max(0, total_tokens - last["tokens"]) / max(1e-9, last["tokens_per_second"]))


def progress_of(state: Mapping[str, Any], total_tokens: int, before: Accounts) -> Progress:
    """For the status; times are those since `before`, the accounts that the attempt began with."""
    last, accounts = state["last"], Accounts.from_dict(state["accounts"])
    return Progress(
        done=last["tokens"],
        total=total_tokens,
        unit="tokens",
        loss=f"{last['loss']:.4f}",
        tokens_per_second=f"{last['tokens_per_second']:.0f}",
        mfu=f"{last['mfu']:.4f}",
        detail=f"step {last['step']}",
        checkpoint=state["checkpoint"],
        working_seconds=round(accounts.working - before.working),
        redone_seconds=round(accounts.redone - before.redone),
        checkpoint_seconds=round(accounts.checkpointing - before.checkpointing),
        save_seconds=math.ceil(state["save_seconds"]),
    )
