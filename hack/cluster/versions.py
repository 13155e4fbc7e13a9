"""Which programs the cluster is made of, and where they are kept."""

import hashlib
import os
from pathlib import Path

KUBERNETES = "1.36.3"
ETCD = "3.6.6"
KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kubectl",
    "kubelet",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
)
CNI = "github.com/containernetworking/plugins/plugins"
CONTAINERD = "github.com/containerd/containerd/v2/cmd"

GO_PROGRAMS = {
    "containerd": (f"{CONTAINERD}/containerd", "v2.3.7"),
    "containerd-shim-runc-v2": (f"{CONTAINERD}/containerd-shim-runc-v2", "v2.3.7"),
    "ctr": (f"{CONTAINERD}/ctr", "v2.3.7"),
    "bridge": (f"{CNI}/main/bridge", "v1.9.1"),
    "loopback": (f"{CNI}/main/loopback", "v1.9.1"),
    "host-local": (f"{CNI}/ipam/host-local", "v1.9.1"),
    "portmap": (f"{CNI}/meta/portmap", "v1.9.1"),
    "coredns": ("github.com/coredns/coredns", "v1.14.7"),
    "helm": ("helm.sh/helm/v4/cmd/helm", "v4.3.1"),
    "helm3": ("helm.sh/helm/v3/cmd/helm", "v3.21.4"),
    "versitygw": ("github.com/versity/versitygw/cmd/versitygw", "v1.8.0"),
    "runc": ("github.com/opencontainers/runc", "v1.4.3"),
    "kubeconform": ("github.com/yannh/kubeconform/cmd/kubeconform", "v0.7.0"),
    "kwok": ("sigs.k8s.io/kwok/cmd/kwok", "v0.8.0"),
}
"""Import path and version of what `go install` builds as it is."""

_HELM3 = "helm.sh/helm/v3/pkg"
LINK_FLAGS = {
    "helm3": " ".join(
        f"-X {_HELM3}/{package}.k8sVersion{part}={number}"
        for package in ("chartutil", "lint/rules")
        for part, number in (("Major", 1), ("Minor", 36))
    )
}
"""Helm 3 is told at link time of which Kubernetes it is; without, it takes itself for one of 1.20 and refuses charts."""

BENCH_PROGRAMS = {"kuberay": ("github.com/ray-project/kuberay/ray-operator", "v1.6.2")}
"""What only the benchmarks compare with; built when asked for by name."""

CONTROL_PLANE = ("etcd", "kube-apiserver", "kubectl")
BUILD_PACKAGES = ("gcc", "libc6-dev", "libseccomp-dev", "pkg-config")
CONTROL_PLANE_PACKAGES = ("openssl",)
RUN_PACKAGES = (*CONTROL_PLANE_PACKAGES, "iproute2", "iptables", "nftables", "procps")


def cache() -> Path:
    """Folder of everything that is built once and kept outside the checkout."""
    return Path(os.environ.get("LLMTRAIN_CACHE", str(Path.home() / ".cache" / "llmtrain")))


def version_of(program: str) -> str:
    """Version of a program; what is part of this repository or of the distribution has none of its own."""
    if program in KUBERNETES_PROGRAMS:
        return f"v{KUBERNETES}"
    modules = GO_PROGRAMS | BENCH_PROGRAMS
    return {"etcd": f"v{ETCD}", **{name: version for name, (_, version) in modules.items()}}.get(program, "1")


def built(program: str) -> Path:
    """File of a program, by its version."""
    return cache() / "programs" / f"{program}-{version_of(program)}"


def binaries() -> Path:
    """Folder of the programs under their own names, by all their versions."""
    names = ("etcd", *KUBERNETES_PROGRAMS, *GO_PROGRAMS)
    versions = " ".join(f"{name}={version_of(name)}" for name in sorted(names))
    return cache() / "bin" / hashlib.sha256(versions.encode()).hexdigest()[:12]


def state_folder() -> Path:
    """Folder of the running cluster."""
    return Path(os.environ.get("LLMTRAIN_CLUSTER_STATE", "/var/lib/llmtrain-cluster"))
