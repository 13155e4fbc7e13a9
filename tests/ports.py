"""Ports for programs that tests start."""

import random
import socket


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody has.

    Below the range that the kernel takes local ends of connections from: there, one of the many connections of tests
    that run beside may take a port between this look and its use.
    """
    some = random.sample(range(12_000, 20_000), 500)
    return [port for port in some if _free(port)][:count]


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
