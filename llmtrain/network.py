"""Addresses and listeners for clusters of IPv4, of IPv6 and of both."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EVERY_IPV4, EVERY_ADDRESS = "0.0.0.0", "::"


def authority(host: str, port: int) -> str:
    """Host and port as they stand in a URL: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def resolved(name: str, port: int, like: str) -> str:
    """The address of a host in the family of the address `like`; the name itself where it has none, or none is told.

    On a cluster of both families a name has addresses of both. Ray 2.60 takes the first one and tells everybody to reach
    this node in that family too: a node of the other one hangs at its start.
    """
    family = socket.AF_INET6 if ":" in like else socket.AF_INET
    try:
        found = socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)
    except OSError:
        return name
    return str(found[0][4][0])


class Server(ThreadingHTTPServer):
    """HTTP on every address of the pod: its own may be of either family, and the kubelet's probe of the other."""

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        """Listens when it returns; OSError where the port is taken."""
        both = has_ipv6()
        self.address_family = socket.AF_INET6 if both else socket.AF_INET
        super().__init__((EVERY_ADDRESS if both else EVERY_IPV4, port), handler)

    def server_bind(self) -> None:
        """`::` takes connections of IPv4 too, unless the kernel was set to keep them apart."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def serve(port: int, handler: type[BaseHTTPRequestHandler]) -> Server:
    """Serve in a thread of its own. OSError where the port is taken."""
    server = Server(port, handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def has_ipv6() -> bool:
    """Whether this kernel lets one socket listen on both families. It may have no IPv6 at all, by a boot option."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind((EVERY_ADDRESS, 0))
    except OSError:
        return False
    return True
