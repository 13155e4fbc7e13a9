"""The real operator as a process of its own, killed and started again as often as a test likes."""

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.ports import free_ports


class Operator:
    """One operator for one namespace, or for all."""

    def __init__(self, folder: Path, server: str, namespace: str = "") -> None:
        self._folder = folder / (namespace or "all")
        self._folder.mkdir(parents=True, exist_ok=True)
        self.kubeconfig = self._folder / "kubeconfig"
        self.kubeconfig.write_text(json.dumps(kubeconfig(server)))
        self._namespace = namespace
        self.starts = 0
        self._kubelet: asyncio.Task[None] | None = None

    async def start(self, once: bool = False) -> None:
        """Start it; unless `once`, it is started again whenever it ends, as the kubelet does with a Deployment's pod."""
        await self._start()
        if not once:
            self._kubelet = asyncio.create_task(self._supervise())

    async def _supervise(self) -> None:
        while True:
            await self.process.wait()
            await asyncio.sleep(0.2)
            await self._start()

    async def _start(self) -> None:
        self.starts += 1
        self.metrics_port, health = free_ports(2)
        environment = os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "LLMTRAIN_NAMESPACES": self._namespace,
            "LLMTRAIN_METRICS_PORT": str(self.metrics_port),
            "LLMTRAIN_HEALTH_PORT": str(health),
            "LLMTRAIN_JOBS_IMAGE": "llmtrain.local/jobs:test",
        }
        with (self._folder / f"log-{self.starts}").open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "llmtrain_operator.main", env=environment, stdout=log, stderr=log
            )

    async def kill(self) -> None:
        """SIGKILL; the next one follows by itself."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def close(self) -> None:
        """SIGKILL, and no next one."""
        if self._kubelet is not None:
            self._kubelet.cancel()
            await asyncio.gather(self._kubelet, return_exceptions=True)
        await self.kill()

    def log(self) -> str:
        """What the last one said."""
        return (self._folder / f"log-{self.starts}").read_text()[-3000:]

    def lines(self, *words: str) -> list[str]:
        """What the last one said of these."""
        said = (self._folder / f"log-{self.starts}").read_text().splitlines()
        return [line[:300] for line in said if any(word in line for word in words)]


def kubeconfig(server: str) -> dict[str, object]:
    """Of a server that asks nobody who he is."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "plane", "cluster": {"server": server}}],
        "users": [{"name": "operator", "user": {}}],
        "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": "operator"}}],
        "current-context": "plane",
    }
