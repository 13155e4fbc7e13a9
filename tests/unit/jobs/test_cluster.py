"""The driver's way into Ray leaves the driver its signals: a stop that ends the process at once saves nothing."""

import os
import subprocess
import sys
import tempfile

import pytest

STOPPED = """
import os, signal, threading, time
from types import SimpleNamespace
from llmtrain_jobs.cluster import connect

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
ray = connect(SimpleNamespace(config=SimpleNamespace(workers=1)))
waits = ray.remote(num_cpus=0)(lambda: time.sleep(1.5)).remote()
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
ray.get(waits)
print("stopped" if stop.is_set() else "nobody heard")
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_driver_that_waits_for_its_workers_hears_that_it_is_to_stop() -> None:
    with tempfile.TemporaryDirectory(prefix="ra", ignore_cleanup_errors=True) as folder:
        own = {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
        done = subprocess.run([sys.executable, "-c", STOPPED], env=dict(os.environ) | own, capture_output=True,
                              text=True, timeout=240, check=False)  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "stopped"), done.stderr[-2000:]
