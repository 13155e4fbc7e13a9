"""The storage code against a real S3 server that is killed, slowed down and filled up."""

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation.endpoints.client import Client, first_choice

from llmtrain.api.endpoint import Endpoint
from llmtrain.api.job import Storage
from llmtrain.storage.errors import StorageError, StorageProblem
from llmtrain.storage.store import Store, open_store
from llmtrain.trust import VARIABLES, trust
from tests.api.programs import folder
from tests.ports import free_port

pytestmark = pytest.mark.timeout(180)
KEY = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "right"}
DATA = os.urandom(1 << 20) * 24


class Server:
    """versitygw over a folder."""

    def __init__(self, data: Path, *options: str) -> None:
        self.data, self.port, self.options = data, free_port(), options
        (data / "llm").mkdir(parents=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [os.path.join(folder(), "versitygw"), "--access", "key", "--secret", "right",
                   "--port", f"127.0.0.1:{self.port}", "--quiet", *self.options, "posix", str(self.data)]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("versitygw does not answer")

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait(10)

    def away(self, seconds: float) -> threading.Thread:
        """Killed now, back after some seconds."""
        self.kill()

        def later() -> None:
            time.sleep(seconds)
            self.start()

        thread = threading.Thread(target=later)
        thread.start()
        return thread


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "s3")
    yield server
    server.kill()


def connect(port: int, key: dict[str, str] = KEY, bucket: str = "llm", patience: float = 60) -> Store:
    s3 = {"bucket": bucket, "prefix": "job", "endpointUrl": f"http://127.0.0.1:{port}"}
    return open_store(Storage.model_validate({"s3": s3}), "", key, patience)


def test_what_is_written_is_read_listed_and_removed(server: Server) -> None:
    store = connect(server.port)
    store.write("a/b", DATA)
    with store.open("a/b") as file:
        assert file.read() == DATA
    assert store.exists("a/b")
    assert (store.glob("a/*"), store.glob("none/*"), store.folders("")) == (["a/b"], [], ["a"])
    assert store.info("a/b")[0] == len(DATA)
    store.complete("curation", "k", {"x": b"1"}, {"n": 1})
    manifest = store.manifest("curation", "k")
    assert manifest is not None
    assert manifest["counts"] == {"n": 1}
    store.remove("a")
    assert not store.exists("a/b")


def written(store: Store) -> bool:
    store.write("b", DATA)
    return store.read("b") == DATA


OPERATIONS: dict[str, Callable[[Store], bool]] = {
    "read": lambda s: s.read("a") == DATA,
    "write": written,
    "exists": lambda s: s.exists("a"),
    "glob": lambda s: s.glob("*") == ["a"],
    "manifest": lambda s: s.manifest("curation", "none") is None,
}


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_an_operation_outlasts_a_server_that_was_killed(name: str, server: Server) -> None:
    store = connect(server.port)
    store.write("a", DATA)
    back = server.away(3)
    assert OPERATIONS[name](store)
    back.join()


def test_a_server_killed_in_the_middle_of_a_read_loses_no_byte(server: Server) -> None:
    store = connect(server.port)
    store.write("a", DATA)
    with store.open("a") as file:
        parts = [file.read(1 << 20)]
        back = server.away(3)
        while part := file.read(1 << 20):
            parts.append(part)
    back.join()
    assert b"".join(parts) == DATA


class BadLine:
    """A connection to the server that breaks every third time after some bytes, and is slow when asked to be."""

    def __init__(self, port: int, break_after: int, pause: float) -> None:
        self.target, self.break_after, self.pause = port, break_after, pause
        self.connections = self.broken = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            breaks = bool(self.break_after) and self.connections % 3 == 0
            server = socket.create_connection(("127.0.0.1", self.target))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink, breaks), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, breaks: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(self.pause)
                passed += len(data)
                if breaks and passed > self.break_after:
                    self.broken += 1
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self.listener.close()


@pytest.mark.parametrize(("break_after", "pause"), [(200_000, 0.0), (0, 0.002)], ids=["flaky", "slow"])
def test_a_bad_line_loses_no_byte(break_after: int, pause: float, server: Server) -> None:
    line, data = BadLine(server.port, break_after, pause), DATA[: 6 << 20]
    store = connect(line.port)
    store.write("a", data)
    assert store.read("a") == data
    line.close()
    assert bool(line.broken) == bool(break_after)


PROBLEMS: dict[str, tuple[dict[str, str], str, StorageProblem]] = {
    "wrong secret": (KEY | {"AWS_SECRET_ACCESS_KEY": "wrong"}, "llm", StorageProblem.DENIED),
    "unknown key": (KEY | {"AWS_ACCESS_KEY_ID": "nobody"}, "llm", StorageProblem.DENIED),
    "missing bucket": (KEY, "none", StorageProblem.BAD_INPUT),
}


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_what_is_wrong_for_good_is_told_at_once(name: str, server: Server) -> None:
    key, bucket, problem = PROBLEMS[name]
    began = time.monotonic()
    with pytest.raises(StorageError) as error:
        connect(server.port, key, bucket).write("a", b"1")
    assert error.value.problem is problem
    assert time.monotonic() - began < 30


def test_a_server_that_never_answers_is_given_up_with_its_name(server: Server) -> None:
    with pytest.raises(StorageError, match="storage does not answer") as error:
        connect(free_port(), patience=4).exists("a")
    assert error.value.problem is StorageProblem.UNAVAILABLE


def test_a_full_disk_says_so(server: Server) -> None:
    """The server's folder is a file system of one megabyte."""
    small = server.data / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        with pytest.raises(StorageError) as error:
            connect(server.port, bucket="small").write("a", DATA)
        assert error.value.problem is StorageProblem.FULL
    finally:
        subprocess.run(["umount", str(small)], check=True)


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def private_authority(where: Path) -> None:
    """An authority that nobody knows, `ca.crt`, and `tls.crt` with `tls.key` for 127.0.0.1 signed by it."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    ca = ["-addext", "basicConstraints=critical,CA:TRUE"]
    openssl("req", "-x509", *key, *ca, "-subj", "/CN=ours", "-keyout", f"{where}/ca.key", "-out", f"{where}/ca.crt")
    signed = ["-CA", f"{where}/ca.crt", "-CAkey", f"{where}/ca.key", "-addext", "subjectAltName=IP:127.0.0.1"]
    signed += ["-addext", "basicConstraints=critical,CA:FALSE"]
    openssl("req", "-x509", *key, *signed, "-subj", "/CN=s3", "-keyout", f"{where}/tls.key", "-out", f"{where}/tls.crt")


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Server]:
    """A server that speaks TLS with a certificate of a private authority."""
    private_authority(tmp_path)
    server = Server(tmp_path / "s3", "--cert", str(tmp_path / "tls.crt"), "--key", str(tmp_path / "tls.key"))
    yield server
    server.kill()


def test_a_private_authority_is_trusted_where_the_job_names_it(
    private: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a pod: the bundle is a mounted file, the entrypoint trusts it, and so do the bucket's and the judge's client."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    url = f"https://127.0.0.1:{private.port}"
    s3 = Storage.model_validate({"s3": {"bucket": "llm", "prefix": "job", "endpointUrl": url}})
    judge = Client(Endpoint.model_validate({"baseUrl": url, "model": "m"}), "", "spec.evaluation.judge")

    began = time.monotonic()
    with pytest.raises(StorageError, match=r"spec\.storage\.s3\.caBundle") as refused:
        open_store(s3, "", KEY).write("a", b"1")
    assert refused.value.problem is StorageProblem.BAD_INPUT
    assert time.monotonic() - began < 20, "a certificate does not become better by waiting"
    with pytest.raises(StageError, match=r"spec\.storage\.s3\.caBundle") as untrusted:
        judge.post("completions", {}, first_choice)
    assert untrusted.value.reason == "EndpointNotTrusted"

    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    trust(tmp_path / "ca.crt", tmp_path / "scratch")
    open_store(s3, "", KEY).write("a", b"1")
    assert open_store(s3, "", KEY).read("a") == b"1"
    with pytest.raises(StageError) as answered:
        judge.post("completions", {}, first_choice)
    assert answered.value.reason != "EndpointNotTrusted", "the bucket has no model, but it was asked"
