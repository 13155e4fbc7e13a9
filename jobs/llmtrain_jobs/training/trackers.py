"""Where the course of training goes beside Prometheus: TensorBoard files in the job's storage; MLflow and Weights & Biases
where their environment variables are set and their libraries are in the image.
"""

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from llmtrain.storage.store import Store

Values = Mapping[str, float]
Environment = Mapping[str, str]


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
        self._library.start_run(run_name=name)
        self._library.log_params(dict(config))

    def log(self, step: int, values: Values) -> None:
        """See `Tracker`."""
        self._library.log_metrics(dict(values), step=step)

    def flush(self) -> None:
        """Every call is sent at once."""


class WeightsAndBiases:
    """A run of Weights & Biases."""

    def __init__(self, library: ModuleType, name: str, config: Mapping[str, str]) -> None:
        """`library` is `wandb`, which finds its key by itself."""
        self._run: Any = library.init(name=name, config=dict(config), resume="allow")

    def log(self, step: int, values: Values) -> None:
        """See `Tracker`."""
        self._run.log(dict(values), step=step)

    def flush(self) -> None:
        """The library sends by itself."""


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
        yield make(module, name, config)
