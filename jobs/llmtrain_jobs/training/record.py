"""What somebody needs to make the same model again: code, config, data, seeds, libraries, sizes of the run."""

import importlib.metadata
import platform
from typing import Any

from llmtrain.api.stageconfig import StageConfig
from llmtrain.api.status import Stage
from llmtrain.storage.keys import CURATION_CODE, TRAINING_CODE
from llmtrain_jobs.training.checkpoints import Checkpoint

RECORD_FILE = "record.json"
LIBRARIES = ("torch", "ray", "numpy", "tokenizers", "llmtrain")


def record_of(config: StageConfig, key: str, newest: Checkpoint) -> dict[str, Any]:
    """The record as JSON."""
    return {
        "artifact": key,
        "data": config.artifacts.get(Stage.CURATION, ""),
        "seed": config.spec.seed,
        "code": {"llmtrain": version("llmtrain"), "training": TRAINING_CODE, "curation": CURATION_CODE},
        "libraries": {name: version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "image": config.spec.image,
        "model": config.spec.model.to_dict(),
        "training": config.spec.training.to_dict(),
        "worlds": newest.facts["worlds"],
        "token_stream": newest.facts["digest"],
        "attempts": config.attempt,
    }


def version(name: str) -> str:
    """Installed version; empty where it is not installed as a distribution."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
