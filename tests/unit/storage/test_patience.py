"""A bucket that is gone, slow or flaky: nothing is lost, nothing is half written, and waiting has an end."""

import errno
import random
from collections.abc import Callable
from typing import Any

import fsspec
import pytest

from llmtrain.storage.errors import StorageError, StorageProblem
from llmtrain.storage.patient import Patience, PatientFileSystem
from llmtrain.storage.store import Store, is_transient

GONE = OSError("When reading information for key 'x': AWS Error NETWORK_CONNECTION during HeadObject operation")
DENIED = OSError("AWS Error ACCESS_DENIED during HeadObject operation")


class Clock:
    def __init__(self) -> None:
        self.now, self.said = 0.0, list[str]()

    def patience(self, seconds: float) -> Patience:
        return Patience(seconds, is_transient, lambda: self.now, self.sleep, self.said.append)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Flaky:
    """An in-memory bucket whose every operation asks `fault` first; files break in the middle of a read."""

    protocol = "s3"

    def __init__(self, fault: Callable[[str], OSError | None]) -> None:
        self.real, self.fault = fsspec.filesystem("memory", skip_instance_cache=True), fault
        self.real.store.clear()

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if error := self.fault(name):
                raise error
            answer = getattr(self.real, name)(*arguments, **options)
            return BreakingFile(answer, self.fault) if name == "open" and arguments[1] == "rb" else answer

        return call


class BreakingFile:
    def __init__(self, file: Any, fault: Callable[[str], OSError | None]) -> None:
        self.file, self.fault = file, fault

    def read(self, size: int) -> bytes:
        if error := self.fault("read"):
            raise error
        data: bytes = self.file.read(min(size, 1000))
        return data

    def seek(self, *place: int) -> int:
        offset: int = self.file.seek(*place)
        return offset

    def tell(self) -> int:
        offset: int = self.file.tell()
        return offset

    def close(self) -> None:
        self.file.close()


def store(fault: Callable[[str], OSError | None], clock: Clock, seconds: float = 180) -> Store:
    def nowhere(url: str) -> tuple[Any, str]:
        raise AssertionError(url)

    return Store(PatientFileSystem(Flaky(fault), clock.patience(seconds)), "/bucket", nowhere)


def gone_until(clock: Clock, end: float, begin: float = 0) -> Callable[[str], OSError | None]:
    return lambda _: GONE if begin <= clock.now < end else None


OPERATIONS: dict[str, Callable[[Store], Any]] = {
    "exists": lambda s: s.exists("a"),
    "read": lambda s: s.read("a"),
    "write": lambda s: s.write("b", b"2"),
    "folders": lambda s: s.folders(""),
    "remove": lambda s: s.remove("a"),
    "glob": lambda s: s.glob("*"),
    "info": lambda s: s.info("a")[0],
    "manifest": lambda s: s.manifest("curation", "none"),
}


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_operation_outlasts_thirty_seconds_and_answers_the_same(name: str) -> None:
    answers = []
    for length in (0, 30):
        clock = Clock()
        there = store(gone_until(clock, 1 + length, begin=1), clock)
        there.write("a", b"1")
        clock.now = 1
        answers.append(OPERATIONS[name](there))
        assert clock.now < 1 + length + 10
        assert bool(clock.said) == bool(length)
    assert answers[0] == answers[1]


def test_a_file_that_breaks_in_the_middle_is_read_on_from_there() -> None:
    clock, generator = Clock(), random.Random(1)
    there = store(lambda name: GONE if name in ("read", "open") and generator.random() < 0.4 else None, clock)
    data = bytes(range(256)) * 400
    while True:
        try:
            there.write("big", data)
            break
        except StorageError:
            continue
    with there.open("big") as file:
        assert file.read(100) == data[:100]
        file.seek(50_000)
        assert file.read() == data[50_000:]


def test_a_gone_server_is_never_taken_for_an_empty_bucket() -> None:
    """A checkpoint or an artifact that cannot be seen is not one that does not exist: it would be paid for twice."""
    for name, operation in OPERATIONS.items():
        with pytest.raises(StorageError) as error:
            operation(store(lambda _: GONE, Clock(), 20))
        assert error.value.problem is StorageProblem.UNAVAILABLE, name


def test_patience_ends_and_says_so_meanwhile() -> None:
    clock = Clock()
    with pytest.raises(StorageError, match="storage does not answer"):
        store(lambda _: GONE, clock, 60).read("a")
    assert 40 < clock.now <= 60
    assert len(clock.said) >= 5
    assert "trying again" in clock.said[0]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (DENIED, StorageProblem.DENIED),
        (OSError("AWS Error NO_SUCH_BUCKET during ListObjectsV2 operation"), StorageProblem.BAD_INPUT),
        (FileNotFoundError("a"), StorageProblem.BAD_INPUT),
        (IsADirectoryError("a"), StorageProblem.BAD_INPUT),
        (OSError(errno.ENOSPC, "No space left on device"), StorageProblem.FULL),
        (OSError("AWS Error UNKNOWN (HTTP status 507) during PutObject: InsufficientStorage"), StorageProblem.FULL),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_trying_again_does_not_cure_fails_at_once(error: OSError, problem: StorageProblem) -> None:
    clock = Clock()
    with pytest.raises(StorageError) as caught:
        store(lambda _: error, clock).read("a")
    assert (caught.value.problem, clock.now, clock.said) == (problem, 0.0, [])


def test_an_upload_is_whole_or_not_there() -> None:
    clock = Clock()
    filesystem = PatientFileSystem(Flaky(gone_until(clock, 30)), clock.patience(180))
    with filesystem.open("/bucket/a", "wb") as file:
        file.write(b"12")
        file.write(b"34")
    assert filesystem.cat_file("/bucket/a") == b"1234"

    def break_off() -> None:
        with filesystem.open("/bucket/b", "wb") as file:
            file.write(b"12")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        break_off()
    assert not filesystem.exists("/bucket/b")


def test_a_removal_whose_answer_was_lost_is_done() -> None:
    """The first try removes, the answer is lost; the second finds nothing and is content."""
    clock = Clock()
    lost = iter([GONE])

    class Lossy(Flaky):
        def __getattr__(self, name: str) -> Any:
            if name not in ("rm", "mv"):
                return super().__getattr__(name)

            def call(*arguments: Any, **options: Any) -> None:
                getattr(self.real, name)(*arguments, **options)
                for error in lost:
                    raise error

            return call

    inner = Lossy(lambda _: None)
    filesystem = PatientFileSystem(inner, clock.patience(60))
    filesystem.pipe_file("/bucket/a", b"1")
    filesystem.rm("/bucket/a")
    assert not filesystem.exists("/bucket/a")
    filesystem.pipe_file("/bucket/a", b"1")
    lost = iter([GONE])
    filesystem.mv("/bucket/a", "/bucket/b")
    assert filesystem.cat_file("/bucket/b") == b"1"
    with pytest.raises(FileNotFoundError):
        filesystem.rm("/bucket/none")
