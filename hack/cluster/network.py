"""The bridge that pods hang on, free ports, and the smallest image there is."""

import hashlib
import io
import json
import random
import socket
import struct
import subprocess
import tarfile
from pathlib import Path

BRIDGE = "cni0"


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody has.

    Below the range that the kernel takes local ends of connections from: there, one of another cluster's many
    connections may take a port between this look and its use.
    """
    while True:
        first = random.randrange(20_000, 32_000 - count)
        if all(_free(port) for port in range(first, first + count)):
            return first


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def make_bridge(address: str, services: str) -> None:
    """The bridge with the gateway's address, which the apiserver and CoreDNS listen on before any pod exists."""
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("addr", "replace", f"{address}/16", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    # kube-proxy rewrites a Service's address only after a route was found, which a machine without a default one lacks.
    _ip("route", "replace", services, "dev", BRIDGE)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def resolves(server: str, name: str) -> bool:
    """Whether a name server knows the address of a name."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(1)
        try:
            asking.sendto(question, (server, 53))
            answer = asking.recv(512)
        except OSError:
            return False
    flags: int
    answers: int
    flags, answers = struct.unpack(">H2xH", answer[2:8])
    return flags & 0xF == 0 and answers > 0


def single_file_image(folder: Path, program: Path, name: str) -> Path:
    """A docker-archive whose only file is `/pause`."""
    layer = folder / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(program, "pause")
    digest = hashlib.sha256(layer.read_bytes()).hexdigest()
    config = {"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/pause"]},
              "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    archive = folder / "image.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(layer, "layer.tar")
        for file, content in (("config.json", config), ("manifest.json", manifest)):
            data = json.dumps(content).encode()
            info = tarfile.TarInfo(file)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return archive
