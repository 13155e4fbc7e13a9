"""Keys, certificates and kubeconfigs, by openssl; what exists is kept."""

import json
import subprocess
from pathlib import Path

ADDRESSES = ("127.0.0.1", "10.96.0.1", "10.88.0.1")
NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
    "apiserver-kubelet-client": "/O=system:masters/CN=apiserver-kubelet-client",
}


def make_certificates(folder: Path, node: str) -> None:
    """A CA and everything that it signs."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "done").exists():
        return
    _ssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=llmtrain-test-ca",
         "-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.crt"))  # fmt: skip
    names = ",".join([f"IP:{a}" for a in ADDRESSES] + [f"DNS:{n}" for n in NAMES])
    _sign(folder, "apiserver", "/CN=kube-apiserver", f"subjectAltName={names}\nextendedKeyUsage=serverAuth")
    usage = f"subjectAltName=DNS:{node},IP:10.88.0.1\nextendedKeyUsage=serverAuth,clientAuth"
    _sign(folder, "kubelet", f"/O=system:nodes/CN=system:node:{node}", usage)
    for name, subject in CLIENTS.items():
        _sign(folder, name, subject, "extendedKeyUsage=clientAuth")
    _ssl("genrsa", "-out", str(folder / "service-account.key"), "2048")
    _ssl("rsa", "-in", str(folder / "service-account.key"), "-pubout", "-out", str(folder / "service-account.pub"))
    (folder / "done").touch()


def write_kubeconfig(file: Path, folder: Path, client: str, server: str) -> None:
    """A kubeconfig that names files; JSON is YAML."""
    cluster = {"server": server, "certificate-authority": str(folder / "ca.crt")}
    user = {"client-certificate": str(folder / f"{client}.crt"), "client-key": str(folder / f"{client}.key")}
    context = {"cluster": "llmtrain", "user": client}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "llmtrain", "cluster": cluster}],
        "users": [{"name": client, "user": user}],
        "contexts": [{"name": "llmtrain", "context": context}],
        "current-context": "llmtrain",
    }
    file.write_text(json.dumps(config, indent=2))


def _sign(folder: Path, name: str, subject: str, extensions: str) -> None:
    key, request, extension = (folder / f"{name}.{ending}" for ending in ("key", "csr", "ext"))
    extension.write_text(extensions)
    _ssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", str(key), "-out", str(request))
    _ssl("x509", "-req", "-in", str(request), "-days", "3650", "-CA", str(folder / "ca.crt"),
         "-CAkey", str(folder / "ca.key"), "-CAcreateserial", "-extfile", str(extension),
         "-out", str(folder / f"{name}.crt"))  # fmt: skip


def _ssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
