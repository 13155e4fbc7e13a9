"""`python -m llmtrain.report.inside KEYS`: in a pod beside a job's storage, prints what the page needs of it as JSON.

KEYS is JSON: the job's `storage` and `artifacts`, keys by stage. `llmtrain report --artifacts pod` starts such a pod.
"""

import json
import sys
from pathlib import Path

from llmtrain.api.job import Storage
from llmtrain.api.stageconfig import CA_FILE, CREDENTIALS_DIR, SCRATCH, STORAGE_MOUNT
from llmtrain.api.status import Stage
from llmtrain.report.artifacts import read_artifacts, shortened
from llmtrain.storage.errors import StorageError
from llmtrain.storage.store import open_store
from llmtrain.trust import trust

POINTS = 5000
"""More than a page of any width can show; the log of a pod is cut at 10 MB."""
PATIENCE_SECONDS = 15.0


def answer(text: str, mount: str, credentials: Path) -> str:
    """The artifacts of the job that `text` speaks of. StorageError where its storage cannot be opened."""
    asked = json.loads(text)
    secrets = {file.name: file.read_text().strip() for file in sorted(credentials.glob("[!.]*"))}
    store = open_store(Storage.model_validate(asked["storage"]), mount, secrets, PATIENCE_SECONDS)
    keys = {Stage(name): key for name, key in asked["artifacts"].items()}
    return shortened(read_artifacts(store, keys), POINTS).to_json()


def main() -> None:
    """Entry point; exit 1 with the reason where nothing can be read."""
    trust(Path(CA_FILE), Path(SCRATCH))
    try:
        print(answer(sys.argv[1], STORAGE_MOUNT, Path(CREDENTIALS_DIR)))
    except StorageError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main()
