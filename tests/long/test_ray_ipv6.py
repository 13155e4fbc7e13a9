"""Ray with IPv6 addresses only, started as the entrypoint starts it: a head, a worker, a driver and a process group.

Where the machine has no address of IPv6 that others could reach, the test runs in a network namespace of its own that has one; that needs root,
as the test cluster does.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from llmtrain.api.stageconfig import RAY_PORT, StageConfig
from tests.long.test_elastic import WORKER, family_of, kill
from tests.long.test_evaluator_process import started
from tests.rayhead import head_command, running_head, without_ray
from tests.unit.operator.scenario import job_spec

DRIVER = """
import os
from types import SimpleNamespace
from llmtrain_jobs.cluster import connect

config = SimpleNamespace(workers=1, wait_for_workers_seconds=120)
ray = connect(SimpleNamespace(config=config, check_stop=lambda: None, tell=lambda *_: None))
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

def train():
    import torch, torch.distributed as dist
    from ray import train
    from llmtrain_jobs.training import gloo
    one = torch.ones(3)
    dist.all_reduce(one, group=dist.new_group(backend=gloo.register()))
    assert ":" in os.environ["MASTER_ADDR"], os.environ["MASTER_ADDR"]
    print("TRAINED", one.tolist(), flush=True)

scaling = ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1})
TorchTrainer(train, torch_config=TorchConfig(backend="gloo"), scaling_config=scaling,
             run_config=RunConfig(storage_path=os.environ["RUNS"])).fit()
print("NODES", sorted(node["NodeManagerAddress"] for node in ray.nodes()), flush=True)
"""


OWN_ADDRESS = "2001:db8::1"
"""Of the range for documentation: nobody has it."""


def ipv6_address() -> str:
    """An address of this machine that others could reach, empty where it has none; nothing is sent."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((OWN_ADDRESS, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def in_a_namespace_of_its_own() -> None:
    """Run this file's test again where the one network is IPv6."""
    again = f"exec {sys.executable} -m pytest {__file__} -q -x --timeout 380"
    script = f"ip link set lo up && ip -6 address add {OWN_ADDRESS}/128 dev lo nodad && {again}"
    done = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "1 passed" in done.stdout, done.stdout[-1000:]


@pytest.mark.timeout(400)
def test_a_cluster_of_ipv6_addresses_works(tmp_path: Path) -> None:
    address, token = ipv6_address(), secrets.token_hex(32)
    if not address:
        in_a_namespace_of_its_own()
        return
    config = StageConfig.model_validate({
        "job": "gpt", "namespace": "a", "jobUid": "u", "stage": "Training", "attempt": 1, "workers": 1,
        "headAddress": address, "spec": job_spec(),
    })  # fmt: skip
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config.to_dict()))
    own = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
        "LLMTRAIN_POD_IP": address,
    }
    with tempfile.TemporaryDirectory(prefix="ra", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with running_head(head_command(address, RAY_PORT, folder), address, token, folder):
            wait_for(address)
            command = [sys.executable, "-c", WORKER, str(file), str(tmp_path / "scratch")]
            worker = started(command, tmp_path / "worker.log", LLMTRAIN_ROLE="worker", LLMTRAIN_INDEX="0", **own)
            try:
                more = own | {"LLMTRAIN_ROLE": "head", "RUNS": str(tmp_path / "runs")}
                done = subprocess.run([sys.executable, "-c", DRIVER], env=without_ray(**more), cwd=os.getcwd(),
                                      capture_output=True, text=True, timeout=240, check=False)  # fmt: skip
            finally:
                kill(family_of(worker))
                worker.wait(20)
    log = (tmp_path / "worker.log").read_text()[-2000:]
    assert done.returncode == 0, done.stderr[-3000:] + log
    assert f"NODES {[address, address]}" in done.stdout, done.stdout[-2000:] + log
    assert "TRAINED [1.0, 1.0, 1.0]" in done.stdout + done.stderr


def wait_for(address: str) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            socket.create_connection((address, RAY_PORT), 1).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    raise AssertionError("the head does not listen")
