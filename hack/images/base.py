"""The base of both images: Debian's Python and what it needs, at the versions of `images/base.lock`.

apt is told to prefer those versions. A version that has left the archive, as happens with each security update, cannot be
had; then the build takes the archive's and says so, or ends where it must not (`--locked`).
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "images" / "base.lock"
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates,procps"
APT_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
ARCHIVE = f"""\
deb http://deb.debian.org/debian {SUITE} main
deb http://deb.debian.org/debian {SUITE}-updates main
deb http://deb.debian.org/debian-security {SUITE}-security main
"""
Versions = Mapping[str, str]


def sources(folder: Path) -> Path:
    """The machine's own apt sources where they are of the base's suite, which may be a mirror; else Debian's archive."""
    for file in APT_SOURCES:
        if file.exists() and SUITE in file.read_text():
            return file
    own = folder / "sources.list"
    own.write_text(ARCHIVE)
    return own


def locked() -> Versions:
    """Versions by package, of the lock file."""
    lines = LOCK.read_text().splitlines() if LOCK.exists() else []
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def installed(status: str) -> Versions:
    """Versions by package, of dpkg's status file."""
    found = {}
    for entry in status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Status): (.+)$", entry, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            found[fields["Package"]] = fields["Version"]
    return found


def preferences(versions: Versions) -> str:
    """apt's pins."""
    return "".join(f"Package: {n}\nPin: version {v}\nPin-Priority: 1001\n\n" for n, v in sorted(versions.items()))


def differences(wanted: Versions, got: Versions) -> list[str]:
    """What is not as the lock says, a line each."""
    names = sorted({*wanted, *got})
    return [
        f"{name}: locked {wanted.get(name, 'not at all')}, installed {got.get(name, 'not at all')}"
        for name in names
        if wanted.get(name) != got.get(name)
    ]


def make_archive(archive: Path, versions: Versions) -> Versions:
    """Build the file system as a tar archive; the versions that are in it."""
    folder = archive.parent
    pins, status = folder / "pins", folder / "status"
    pins.write_text(preferences(versions))
    command = ["mmdebstrap", "--variant=minbase", "--mode=root", f"--include={PACKAGES}",
               f"--setup-hook=upload {pins} /etc/apt/preferences.d/lock",
               f"--customize-hook=download /var/lib/dpkg/status {status}",
               "--customize-hook=rm $1/etc/apt/preferences.d/lock",
               SUITE, str(archive), str(sources(folder))]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"mmdebstrap failed:\n{done.stderr[-3000:]}")
    return installed(status.read_text())


def build(add: Callable[[Path], None], scratch: Path, *, exact: bool) -> None:
    """Make the base and hand its archive to `add`; where `exact`, it must be what the lock says."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        archive = Path(folder) / "base.tar"
        changed = differences(locked(), make_archive(archive, locked()))
        if changed:
            text = "the archive no longer has what images/base.lock says (`hack/images lock` takes what it has):\n"
            print(text + "\n".join(changed), file=sys.stderr, flush=True)
            if exact:
                sys.exit("stopped because of --locked")
        add(archive)


def write_lock(scratch: Path) -> int:
    """Lock what the archive has now; how many packages changed."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        got = make_archive(Path(folder) / "base.tar", {})
    changed = len(differences(locked(), got))
    head = f"# Debian {SUITE}: packages of the images' base. Written by `hack/images lock`.\n"
    LOCK.write_text(head + "".join(f"{name}={version}\n" for name, version in sorted(got.items())))
    return changed
