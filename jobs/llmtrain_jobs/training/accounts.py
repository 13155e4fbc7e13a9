"""What a training's time went into, over all its attempts: every step is work once, and done again after that."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from llmtrain.ledger.goodput import step_efficiency
from llmtrain.storage.store import Store, artifact_folder


@dataclass
class Accounts:
    """Seconds of the whole training so far. `highest` is the last step that was ever done."""

    highest: int = 0
    working: float = 0.0
    redone: float = 0.0
    skipped_steps: int = 0
    redone_steps: int = 0
    checkpointing: float = 0.0
    waiting_for_data: float = 0.0

    def step(self, number: int, seconds: float, data_seconds: float, skipped: bool) -> None:
        """A step was done; a step that was done before is waste, however it comes that it is done again."""
        if number <= self.highest:
            self.redone += seconds
            self.redone_steps += 1
        else:
            self.highest = number
            self.working += seconds
            self.skipped_steps += skipped
        self.waiting_for_data += data_seconds

    @property
    def step_efficiency(self) -> float:
        """Share of the steps' and checkpoints' time that moved training forward, 0 to 1; 1 before the first step."""
        share = step_efficiency(self.working, self.redone, self.checkpointing)
        return 1.0 if share is None else share

    def to_dict(self) -> dict[str, float]:
        """For storage."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, float]) -> "Accounts":
        """From storage."""
        accounts = cls()
        for name, value in asdict(accounts).items():
            setattr(accounts, name, type(value)(raw.get(name, value)))
        return accounts


def name_of(key: str) -> str:
    """Where they lie."""
    return f"{artifact_folder('training', key)}/accounts.json"


def read_accounts(store: Store, key: str) -> Accounts:
    """As an earlier attempt left them, or at zero."""
    return Accounts.from_dict(json.loads(store.read(name_of(key)))) if store.exists(name_of(key)) else Accounts()


def write_accounts(store: Store, key: str, accounts: Accounts) -> None:
    """Replace them."""
    store.write(name_of(key), json.dumps(accounts.to_dict(), sort_keys=True).encode())
