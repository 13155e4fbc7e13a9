"""The one HTTP session to the apiserver, and the only place that knows the Kubernetes library: it says where, and as whom.

The library's own way of sending looks for a .netrc in a thread before each request and logs what it was given.
"""

import os
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes import aio
from kubernetes.aio import config as kube_config
from kubernetes.aio.client.rest import RESTClientObject

CONNECTIONS = 100
BUFFER_BYTES = 2**21
"""An event of a watch is a line, and may be as large as an object."""


class Connection:
    """Requests with the account's credentials."""

    def __init__(self, configuration: aio.client.Configuration) -> None:
        """Nothing is sent yet."""
        self._configuration = configuration
        self._proxy = configuration.proxy or proxy_of(configuration.host)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=RESTClientObject(configuration).ssl_context)
        self._session = aiohttp.ClientSession(connector=connector, read_bufsize=BUFFER_BYTES)

    async def request(
        self, method: str, path: str, body: bytes | None, accept: str, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """The answer, its body not read yet. Lists are asked for as they are: packing one costs the apiserver more."""
        config = self._configuration
        content = patch_type(body) if method == "PATCH" else "application/json"
        headers = {"Accept": accept, "Content-Type": content, "Accept-Encoding": "identity"}
        headers["User-Agent"] = "llmtrain-operator"
        for setting in (await config.auth_settings()).values():
            if setting.get("in") == "header" and setting.get("value"):
                headers[setting["key"]] = setting["value"]
        return await self._session.request(
            method,
            config.host + path,
            headers=headers,
            data=body,
            timeout=timeout,
            proxy=self._proxy,
            server_hostname=config.tls_server_name,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def patch_type(body: bytes | None) -> str:
    """A patch that is a list says what to do step by step, each on condition of the tests before it; others are merged."""
    return f"application/{'json' if body and body.startswith(b'[') else 'merge'}-patch+json"


def proxy_of(server: str) -> str | None:
    """The proxy that the environment names for this URL, if any."""
    parts = urlsplit(server)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


async def connect() -> Connection:
    """To the cluster that the operator runs in, else to the kubeconfig's."""
    configuration = aio.client.Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        kube_config.load_incluster_config(client_configuration=configuration)
    else:
        # The library reads KUBECONFIG when it is imported; it is asked for now.
        await kube_config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
    return Connection(configuration)
