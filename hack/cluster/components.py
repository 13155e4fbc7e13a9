"""Flags and configuration of every component: pure functions of the cluster's layout."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GATEWAY = "10.88.0.1"
POD_CIDR = "10.88.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
DNS_SERVICE = "10.96.0.10"
DNS_PORT = 1053
KUBELET_HEALTH_PORT = 10248
PROXY_HEALTH_PORT = 10256
NODE = "llmtrain-node"
PAUSE_IMAGE = "llmtrain.local/pause:1"


@dataclass(frozen=True)
class Layout:
    """Where a cluster's files and ports are."""

    state: Path
    binaries: Path
    etcd_port: int
    api_port: int
    advertise: str

    @property
    def certificates(self) -> Path:
        """Keys and certificates."""
        return self.state / "pki"

    @property
    def containerd_socket(self) -> Path:
        """Socket of containerd; its clients need the absolute path."""
        return self.state / "containerd.sock"

    @property
    def server(self) -> str:
        """URL of the apiserver."""
        return f"https://127.0.0.1:{self.api_port}"

    def kubeconfig(self, client: str) -> Path:
        """Kubeconfig of a client."""
        return self.state / f"{client}.kubeconfig"

    def program(self, name: str) -> str:
        """Path of a program."""
        return str(self.binaries / name)


def etcd(layout: Layout) -> list[str]:
    """A test cluster's data may be lost with the machine, so it does not wait for the disk."""
    client, peer = f"http://127.0.0.1:{layout.etcd_port}", f"http://127.0.0.1:{layout.etcd_port + 1}"
    return [layout.program("etcd"), f"--data-dir={layout.state / 'etcd'}", "--unsafe-no-fsync",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}", "--log-level=warn"]  # fmt: skip


def apiserver(layout: Layout) -> list[str]:
    """RBAC and Node authorizers; requests are audited by their metadata, so that tests can count them."""
    pki = layout.certificates
    return [layout.program("kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{layout.etcd_port}",
            f"--secure-port={layout.api_port}", f"--advertise-address={layout.advertise}",
            f"--bind-address={'0.0.0.0' if layout.advertise == GATEWAY else '127.0.0.1'}",
            "--authorization-mode=Node,RBAC", "--kubelet-preferred-address-types=InternalIP",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true", f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki / 'service-account.pub'}",
            f"--service-account-signing-key-file={pki / 'service-account.key'}",
            f"--tls-cert-file={pki / 'apiserver.crt'}", f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--client-ca-file={pki / 'ca.crt'}", f"--kubelet-certificate-authority={pki / 'ca.crt'}",
            f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
            f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
            f"--audit-policy-file={layout.state / 'audit-policy.json'}",
            f"--audit-log-path={layout.state / 'audit.log'}",
            "--audit-log-maxsize=50", "--audit-log-maxbackup=2"]  # fmt: skip


def controller_manager(layout: Layout) -> list[str]:
    """One of it, so no leader election."""
    pki = layout.certificates
    return [layout.program("kube-controller-manager"), f"--kubeconfig={layout.kubeconfig('controller-manager')}",
            "--use-service-account-credentials", "--leader-elect=false", f"--root-ca-file={pki / 'ca.crt'}",
            f"--service-account-private-key-file={pki / 'service-account.key'}"]  # fmt: skip


def scheduler(layout: Layout) -> list[str]:
    """One of it, so no leader election."""
    return [layout.program("kube-scheduler"), f"--kubeconfig={layout.kubeconfig('scheduler')}", "--leader-elect=false"]


def containerd(layout: Layout) -> list[str]:
    """Its configuration is `containerd_config`."""
    return [layout.program("containerd"), "--config", str(layout.state / "containerd.toml")]


def containerd_config(layout: Layout) -> str:
    """restrict_oom_score_adj: without CAP_SYS_RESOURCE no pause container would start."""
    return f"""version = 3
root = "{layout.state}/containerd"
state = "{layout.state}/containerd-run"
[grpc]
address = "{layout.containerd_socket}"
[plugins.'io.containerd.nri.v1.nri']
disable = true
[plugins.'io.containerd.internal.v1.opt']
path = "{layout.state}/containerd-opt"
[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{PAUSE_IMAGE}"
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{layout.binaries}"]
conf_dir = "{layout.state}/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def cni_config(layout: Layout) -> str:
    """A bridge, addresses from one range, host ports."""
    addresses = {"type": "host-local", "ranges": [[{"subnet": POD_CIDR}]], "routes": [{"dst": "0.0.0.0/0"}],
                 "dataDir": str(layout.state / "cni-addresses")}  # fmt: skip
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipam": addresses}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": "llmtrain", "plugins": [bridge, ports]}, indent=2)


def kubelet(layout: Layout) -> list[str]:
    """Its configuration is `kubelet_config`."""
    return [layout.program("kubelet"), f"--config={layout.state / 'kubelet.json'}",
            f"--kubeconfig={layout.kubeconfig('kubelet')}", f"--hostname-override={NODE}", f"--node-ip={GATEWAY}",
            f"--root-dir={layout.state / 'kubelet'}", f"--cert-dir={layout.state / 'kubelet-pki'}"]  # fmt: skip


def kubelet_config(layout: Layout) -> str:
    """Images are never collected: there is no registry to pull them from again."""
    pki = layout.certificates
    config: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                           "x509": {"clientCAFile": str(pki / "ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "volumePluginDir": str(layout.state / "volume-plugins"),
        "podLogsDir": str(layout.state / "pod-logs"),
        "resolvConf": str(layout.state / "resolv.conf"),
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "healthzPort": KUBELET_HEALTH_PORT,
        "nodeStatusUpdateFrequency": "5s",
        "serializeImagePulls": False,
    }  # fmt: skip
    return json.dumps(config, indent=2)


def proxy(layout: Layout) -> list[str]:
    """Its configuration is `proxy_config`."""
    return [layout.program("kube-proxy"), f"--config={layout.state / 'proxy.json'}", f"--hostname-override={NODE}"]


def proxy_config(layout: Layout) -> str:
    """nftables; connection tracking limits stay the machine's own."""
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": POD_CIDR,
        "clientConnection": {"kubeconfig": str(layout.kubeconfig("proxy"))},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    return json.dumps(config, indent=2)


def coredns(layout: Layout) -> list[str]:
    """A plain process on the bridge's address; Service and EndpointSlice point to it."""
    return [layout.program("coredns"), "-conf", str(layout.state / "Corefile")]


def corefile(layout: Layout) -> str:
    """Cluster names; records of pods that are not ready are published where their Service says so."""
    return f""".:{DNS_PORT} {{
    bind {GATEWAY}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {layout.kubeconfig("admin")} llmtrain
        ttl 1
    }}
}}
"""


def dns_objects() -> list[dict[str, Any]]:
    """Service `kube-dns` without a selector, and its endpoints."""
    metadata = {"name": "kube-dns", "namespace": "kube-system"}
    ports = [{"name": p.lower(), "port": 53, "protocol": p, "targetPort": DNS_PORT} for p in ("UDP", "TCP")]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata,
               "spec": {"clusterIP": DNS_SERVICE, "ports": ports}}  # fmt: skip
    labels = {"kubernetes.io/service-name": "kube-dns"}
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kube-dns-host", "namespace": "kube-system", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [GATEWAY], "conditions": {"ready": True}}],
        "ports": [{"name": p.lower(), "port": DNS_PORT, "protocol": p} for p in ("UDP", "TCP")],
    }
    return [service, slices]
