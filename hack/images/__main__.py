"""`python3 hack/images build|load|push|refs|values|sbom|scan|lock`: the two images without Docker and without a registry.

Base (mmdebstrap, by `images/base.lock`) and dependencies are cached by the hash of their inputs, so that a code change
rebuilds and loads the topmost layer alone. `scan` says what is known to be vulnerable in the built images, `lock` takes
the archive's present versions into the lock.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import base
from sbom import document

ROOT = Path(__file__).resolve().parents[2]
SHARED_WHEELS = ROOT.parent / "shared" / "wheels"
CACHE = Path(os.environ.get("LLMTRAIN_CACHE", str(Path.home() / ".cache" / "llmtrain"))) / "images"
LAYOUT = CACHE / "layout"
PACKAGES = ("buildah", "mmdebstrap")
SOURCES = {"operator": ("llmtrain", "operator"), "jobs": ("llmtrain", "jobs")}
BUILDAH = ["buildah", "--storage-driver", "overlay", "--root", str(CACHE / "storage")]


def main() -> None:
    """Parse and dispatch."""
    parser = argparse.ArgumentParser(prog="hack/images", description=__doc__)
    parser.add_argument("command", choices=["build", "load", "push", "refs", "values", "sbom", "scan", "lock"])
    parser.add_argument("--registry", default="", help="push: where to, as host[:port]/path")
    parser.add_argument("--locked", action="store_true", help="build: fail where the archive has left the lock")
    parser.add_argument(
        "--advisories", default="", help="scan: a folder of OSV records, as a copy of github.com/pypa/advisory-database"
    )
    parser.add_argument("--state", default=os.environ.get("LLMTRAIN_CLUSTER_STATE", "/var/lib/llmtrain-cluster"))
    arguments = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    if arguments.command == "build":
        build(exact=arguments.locked)
    elif arguments.command == "load":
        for name in SOURCES:
            load(name, Path(arguments.state))
    elif arguments.command == "push":
        print(json.dumps(push(arguments.registry)))
        return
    elif arguments.command == "lock":
        install_packages()
        print(f"{base.LOCK}: {base.write_lock(CACHE)} packages changed")
        return
    elif arguments.command == "scan":
        sys.exit(scan_images(arguments.advisories))
    elif arguments.command == "sbom":
        print(json.dumps({name: str(write_sbom(reference(name))) for name in SOURCES}))
        return
    elif arguments.command == "values":
        print(json.dumps(values(), indent=2))
        return
    print(json.dumps({name: reference(name) for name in SOURCES}))


def values() -> dict[str, object]:
    """The chart's values that name both images."""
    repository, tag = reference("operator").rsplit(":", 1)
    return {"image": {"repository": repository, "tag": tag}, "jobsImage": reference("jobs")}


@contextlib.contextmanager
def mounted(image: str) -> Iterator[Path]:
    """The file system of a built image."""
    container = run([*BUILDAH, "from", "--pull-never", image]).strip()
    try:
        yield Path(run([*BUILDAH, "mount", container]).strip())
    finally:
        run([*BUILDAH, "rm", container])


def write_sbom(image: str) -> Path:
    """The bill of materials of a built image, into dist/sbom."""
    file = ROOT / "dist" / "sbom" / f"{image.rsplit('/', 1)[1].split(':')[0]}.cdx.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with mounted(image) as root:
        file.write_text(document(image, root))
    return file


def scan_images(advisories: str) -> int:
    """Print what is known of the built images; 1 where something is that nobody has accepted."""
    import scan

    known = scan.advisories(Path(advisories)) if advisories else {}
    found = []
    for name in SOURCES:
        image = reference(name)
        with mounted(image) as root, tempfile.TemporaryDirectory(dir=CACHE) as folder:
            bill = json.loads(document(image, root))
            updates = scan.security_updates(root, base.sources(Path(folder)), Path(folder))
        found += scan.findings(name, bill, known, updates)
    return scan.report(found, len(known))


def reference(name: str) -> str:
    """Name of an image by the hash of everything that is in it."""
    inputs = [ROOT / "pyproject.toml", ROOT / "README.md", *dependency_inputs(name)]
    for folder in SOURCES[name]:
        inputs += sorted(p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return f"llmtrain.local/{name}:{digest(inputs, wheels())}"


def dependency_inputs(name: str) -> list[Path]:
    """What the dependency layer is made from, but for wheels at hand."""
    constraints = [
        ROOT / "constraints" / f"{name}.txt",
        *([ROOT / "constraints" / "cuda.txt"] if name == "jobs" else []),
    ]
    return [base.LOCK, ROOT / "images" / f"{name}.Dockerfile", *constraints]


def wheels() -> list[str]:
    """Names of the wheels that win over the registry's: PyTorch's CPU build, where it is at hand."""
    return sorted(file.name for file in SHARED_WHEELS.glob("*.whl"))


def digest(files: list[Path], names: list[str] | None = None) -> str:
    """12 hex digits over names and contents of the files, and over further names."""
    total = hashlib.sha256("\n".join(names or []).encode())
    for file in files:
        total.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()[:12]


def install_packages() -> None:
    """Debian packages that are missing."""
    missing = [name for name in PACKAGES if shutil.which(name) is None]
    if missing:
        run(["apt-get", "update", "-q"])
        run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing])


def build(*, exact: bool = False) -> None:
    """Build what is missing, push it to the shared layout. `exact`: the base must be what its lock says."""
    install_packages()
    base_image = f"localhost/llmtrain-base:{digest([base.LOCK])}"
    if not exists(base_image):
        timed("base", build_base, base_image, exact)
    for name in SOURCES:
        dependencies = f"localhost/llmtrain-{name}-deps:{digest(dependency_inputs(name), wheels())}"
        if not exists(dependencies):
            timed(f"{name} dependencies", bud, name, dependencies, "deps", {"BASE_IMAGE": base_image})
        image = reference(name)
        if not exists(image):
            timed(name, bud, name, image, "final", {"BASE_IMAGE": base_image, "DEPS_IMAGE": dependencies})
        if not in_layout(image):
            target = f"oci:{LAYOUT}:{image}"
            timed(f"{name} push", run, [*BUILDAH, "push", "--disable-compression", "--quiet", image, target])
    (CACHE / "current.json").write_text(json.dumps({name: reference(name) for name in SOURCES}))


def timed(what: str, work: object, *arguments: object) -> None:
    """Run and print how long it took."""
    started = time.monotonic()
    if callable(work):
        work(*arguments)
    print(f"{what}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def run(command: list[str]) -> str:
    """Run a command; its output is shown if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def exists(image: str) -> bool:
    """Whether buildah has the image."""
    return (
        subprocess.run([*BUILDAH, "inspect", "--type", "image", image], capture_output=True, check=False).returncode
        == 0
    )


def build_base(image: str, exact: bool) -> None:
    """Debian with Python as an image."""

    def add(archive: Path) -> None:
        container = run([*BUILDAH, "from", "scratch"]).strip()
        run([*BUILDAH, "add", container, str(archive), "/"])
        run([*BUILDAH, "commit", "--quiet", "--rm", container, image])

    base.build(add, CACHE, exact=exact)


def bud(name: str, image: str, target: str, build_arguments: dict[str, str]) -> None:
    """Build one target of a Dockerfile; pip's settings of this machine are mounted and never written into a layer."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        context = build_context(Path(folder) / "context")
        secrets = pip_secrets(Path(folder))
        arguments = [part for key, value in build_arguments.items() for part in ("--build-arg", f"{key}={value}")]
        run([*BUILDAH, "bud", "--isolation", "chroot", "--network", "host", "--quiet", "--target", target,
             "--pull-never", *arguments, *secrets, "-t", image,
             "-f", str(ROOT / "images" / f"{name}.Dockerfile"), str(context)])  # fmt: skip


def build_context(context: Path) -> Path:
    """A copy without caches and, where they are at hand, with wheels that no registry has."""
    context.mkdir()
    for name in ("llmtrain", "operator", "jobs", "constraints"):
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, context / name)
    if SHARED_WHEELS.is_dir():
        shutil.copytree(SHARED_WHEELS, context / "wheels")
    return context


def pip_secrets(folder: Path) -> list[str]:
    """pip's configuration and CA bundle of this machine, as build secrets."""
    settings = run([sys.executable, "-m", "pip", "config", "list"]).splitlines()
    lines = [line.split(".", 1)[1] for line in settings if line.startswith(("global.", ":env:.index", ":env:.extra"))]
    kept = [line.replace("'", "") for line in lines if not line.startswith(("cert", "find-links"))]
    bundle = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    (folder / "pip.conf").write_text("\n".join(["[global]", "cert = /run/secrets/ca-bundle", *kept]) + "\n")
    return ["--secret", f"id=pip-config,src={folder / 'pip.conf'}", "--secret", f"id=ca-bundle,src={bundle}"]


def push(registry: str) -> dict[str, str]:
    """Build and push to a registry that a cluster pulls from; the images' names there."""
    if not registry:
        sys.exit("`push` needs --registry host[:port]/path")
    build()
    pushed = {}
    for name in SOURCES:
        image = reference(name)
        pushed[name] = f"{registry.rstrip('/')}/{image.split('/', 1)[1]}"
        timed(f"{name} push to {registry}", run, [*BUILDAH, "push", "--quiet", image, f"docker://{pushed[name]}"])
    return pushed


def in_layout(image: str) -> bool:
    """Whether the layout has the image."""
    return image in tags()


def tags() -> dict[str, str]:
    """Manifest digests by tag."""
    index = LAYOUT / "index.json"
    entries = json.loads(index.read_text())["manifests"] if index.exists() else []
    return {e["annotations"]["org.opencontainers.image.ref.name"]: e["digest"] for e in entries}


def load(name: str, state: Path) -> None:
    """Import into the cluster's containerd; blobs that it has are left out of the archive."""
    image = reference(name)
    ctr = [str(binaries(state) / "ctr"), "-a", str(state / "containerd.sock"), "-n", "k8s.io"]
    if image in run([*ctr, "images", "ls", "-q"]).split():
        return
    known = set(run([*ctr, "content", "ls", "-q"]).split())
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        archive = Path(folder) / "image.tar"
        write_archive(archive, image, known)
        run([*ctr, "images", "import", "--local", str(archive)])
    print(f"{name} load: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def binaries(state: Path) -> Path:
    """Where the running cluster's programs are: next to its kubelet's."""
    text = run([sys.executable, str(ROOT / "hack" / "cluster"), "env", "--state", str(state)])
    return Path(text.split('PATH="')[1].split(":")[0])


def write_archive(archive: Path, image: str, known: set[str]) -> None:
    """An OCI archive of one image."""
    manifest_digest = tags()[image]
    manifest = json.loads(blob(manifest_digest).read_text())
    wanted = [manifest_digest, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
    entry = {"mediaType": manifest["mediaType"], "digest": manifest_digest, "size": blob(manifest_digest).stat().st_size,
             "annotations": {"io.containerd.image.name": image, "org.opencontainers.image.ref.name": image}}  # fmt: skip
    index = archive.with_name("index.json")
    index.write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    with tarfile.open(archive, "w") as tar:
        tar.add(LAYOUT / "oci-layout", "oci-layout")
        tar.add(index, "index.json")
        for one in dict.fromkeys(wanted):
            if one not in known:
                tar.add(blob(one), f"blobs/{one.replace(':', '/')}")


def blob(name: str) -> Path:
    """File of a blob in the layout."""
    return LAYOUT / "blobs" / name.replace(":", "/")


if __name__ == "__main__":
    main()
