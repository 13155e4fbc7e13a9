"""Files by which the driver tells PID 1 how it goes and how it ended."""

import json
import os
from pathlib import Path

from llmtrain.api.stageconfig import Result
from llmtrain.api.status import Progress
from llmtrain.observe.stages import exposition


class Scratch:
    """A folder in the pod."""

    def __init__(self, folder: Path) -> None:
        """The folder is made."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def put_progress(self, progress: Progress) -> None:
        """Replace the progress."""
        self._put("progress.json", json.dumps(progress.to_dict()))

    def progress(self) -> str:
        """Progress as JSON."""
        return self._get("progress.json") or "{}"

    def put_metrics(self, values: dict[str, float]) -> None:
        """Replace the stage's metrics, by name; `llmtrain.observe.stages` says what each is."""
        self._put("metrics.prom", exposition(values))

    def metrics(self) -> str:
        """Gauges in the text exposition format."""
        return self._get("metrics.prom")

    def put_result(self, result: Result) -> None:
        """The driver's last words."""
        self._put("result.json", json.dumps(result.to_dict()))

    def result(self) -> Result | None:
        """The driver's last words, if it got to them."""
        text = self._get("result.json")
        return Result.model_validate_json(text) if text else None

    def _put(self, name: str, text: str) -> None:
        partial = self.folder / f"{name}.partial"
        partial.write_text(text)
        os.replace(partial, self.folder / name)

    def _get(self, name: str) -> str:
        file = self.folder / name
        return file.read_text() if file.exists() else ""
