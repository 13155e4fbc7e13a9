"""The real node as the e2e tests have it; only these benches want its autouse fixture."""

from tests.e2e.conftest import images, namespace, node, operator, recorder, runtime

__all__ = ["images", "namespace", "node", "operator", "recorder", "runtime"]
