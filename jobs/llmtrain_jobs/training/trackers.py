"""Where the course of training goes beside Prometheus: TensorBoard files in the job's storage; MLflow and Weights & Biases
where their environment variables are set and their libraries are in the image.
"""

import importlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from llmtrain.storage.store import Store

Values = Mapping[str, float]
Environment = Mapping[str, str]
AGAIN_SECONDS = 300.0
"""After which a service that failed is tried again: its library may wait for minutes by itself, and the steps with it."""


class Tracker(Protocol):
    """One place."""

    def log(self, step: int, values: Values) -> None:
        """Numbers of a step."""

    def flush(self) -> None:
        """Make everything so far last."""


class TensorBoard:
    """Event files, one from each checkpoint to the next: the library's own flush does not wait for what is queued."""

    def __init__(self, store: Store, folder: str, local: Path) -> None:
        """`folder` is a name in the store, `local` a folder of the pod."""
        self._store, self._folder, self._local = store, folder, local
        self._writer: Any = None
        self._files = 0

    def log(self, step: int, values: Values) -> None:
        """See `Tracker`."""
        if self._writer is None:
            from tensorboardX import SummaryWriter

            self._files += 1
            self._writer = SummaryWriter(logdir=str(self._local), filename_suffix=f".{self._files}")
        for name, value in values.items():
            self._writer.add_scalar(f"train/{name}", value, step)

    def flush(self) -> None:
        """See `Tracker`."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        writer.close()
        for file in sorted(self._local.glob("events.*")):
            self._store.write(f"{self._folder}/{file.name}", file.read_bytes())
            file.unlink()


class MlFlow:
    """A run of an MLflow server."""

    def __init__(self, library: ModuleType, name: str, config: Mapping[str, str]) -> None:
        """`library` is `mlflow`, which finds its server by itself."""
        self._library: Any = library
        if self._library.active_run() is None:  # a try that failed behind this one left it
            self._library.start_run(run_name=name)
        self._library.log_params(dict(config))

    def log(self, step: int, values: Values) -> None:
        """See `Tracker`."""
        self._library.log_metrics(dict(values), step=step)

    def flush(self) -> None:
        """Every call is sent at once."""


class WeightsAndBiases:
    """A run of Weights & Biases. Its own count of steps may only rise, and drops what comes after a roll-back: ours is a
    metric of its own, over which the others are drawn."""

    STEP = "step"

    def __init__(self, library: ModuleType, name: str, config: Mapping[str, str]) -> None:
        """`library` is `wandb`, which finds its key by itself."""
        self._run: Any = library.init(name=name, config=dict(config), resume="allow")
        self._run.define_metric(self.STEP)
        self._run.define_metric("*", step_metric=self.STEP)

    def log(self, step: int, values: Values) -> None:
        """See `Tracker`."""
        self._run.log(dict(values) | {self.STEP: step})

    def flush(self) -> None:
        """The library sends by itself."""


class Spared:
    """A service whose failures are its own: where it cannot be reached, training goes on and tells it less."""

    def __init__(self, name: str, make: Callable[[], Tracker], clock: Callable[[], float] = time.monotonic) -> None:
        """`make` is called with the first numbers, and again where it failed."""
        self._name, self._make, self._clock = name, make, clock
        self._tracker: Tracker | None = None
        self._silent_until = -math.inf

    def log(self, step: int, values: Values) -> None:
        """See `Tracker`."""
        self._try(lambda tracker: tracker.log(step, values))

    def flush(self) -> None:
        """See `Tracker`."""
        self._try(lambda tracker: tracker.flush())

    def _try(self, work: Callable[[Tracker], None]) -> None:
        if self._clock() < self._silent_until:
            return
        try:
            self._tracker = self._tracker or self._make()
            work(self._tracker)
        except Exception as error:  # noqa: BLE001 -- of each library's own classes, and of those that it is made of
            self._silent_until = self._clock() + AGAIN_SECONDS
            text = f"{type(error).__name__}: {error}"[:500]
            print(f"`{self._name}` is not told anything for {AGAIN_SECONDS:.0f} s: {text}", flush=True)


SERVICES: dict[str, tuple[str, Callable[[ModuleType, str, Mapping[str, str]], Tracker]]] = {
    "MLFLOW_TRACKING_URI": ("mlflow", MlFlow),
    "WANDB_API_KEY": ("wandb", WeightsAndBiases),
}
"""Environment variable that asks for it, library, tracker."""


def services(name: str, config: Mapping[str, str], environment: Environment = os.environ) -> Iterator[Tracker]:
    """The services that are asked for; one whose library is not in the image is said and left out."""
    for variable, (library, make) in SERVICES.items():
        if not environment.get(variable):
            continue
        try:
            module = importlib.import_module(library)
        except ImportError:
            print(f"{variable} is set, but `{library}` is not installed in the image: it is not told", flush=True)
            continue
        yield Spared(library, partial(make, module, name, config))
