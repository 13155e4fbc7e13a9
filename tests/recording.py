"""`python -m tests.recording NAMESPACE JOB FOLDER NUMBER`: what the operator and a job's stage pods export, kept for a replay.

Run on the node while the job trains, twice with some time between; the replay serves one after the other.
"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

OPERATOR = ["service", "llmtrain-operator", "-n", "llmtrain-system"]


def kubectl(*arguments: str) -> Any:
    done = subprocess.run(["kubectl", "get", *arguments, "-o", "json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def fetched(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def main() -> None:
    namespace, job, folder, number = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]
    folder.mkdir(parents=True, exist_ok=True)
    service = kubectl(*OPERATOR)["spec"]
    (folder / f"operator-{number}.prom").write_text(fetched(f"{service['clusterIP']}:{service['ports'][0]['port']}"))
    for pod in kubectl("pods", "-n", namespace, "-l", f"llmtrain.dev/job={job},llmtrain.dev/role=head")["items"]:
        stage = pod["metadata"]["labels"]["llmtrain.dev/stage"].lower()
        (folder / f"{stage}-{number}.prom").write_text(fetched(f"{pod['status']['podIP']}:8090"))


if __name__ == "__main__":
    main()
