"""The container runtime's own record of when tasks started and ended: `ctr events`, beside Kubernetes."""

import json
import subprocess
import threading
from datetime import datetime
from pathlib import Path


class RuntimeEvents:
    def __init__(self, socket: Path) -> None:
        self.started: dict[str, datetime] = {}
        self.ended: dict[str, datetime] = {}
        command = ["ctr", "-a", str(socket), "-n", "k8s.io", "events"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            head, brace, body = line.partition("{")
            if not brace or "/tasks/" not in head:
                continue
            event = json.loads(brace + body)
            day, clock = head.split()[:2]
            when = datetime.fromisoformat(f"{day}T{clock[:15]}+00:00")
            if "/tasks/start" in head:
                self.started.setdefault(event["container_id"], when)
            elif "/tasks/exit" in head and event.get("id") == event["container_id"]:
                self.ended[event["container_id"]] = when

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._thread.join(10)
        if self._process.stdout:
            self._process.stdout.close()
