"""Spec of the check before anything is paid for."""

from pydantic import Field

from llmtrain.api.base import Model
from llmtrain.api.cluster import PreflightCluster


class Preflight(Model):
    """The check before anything is paid for."""

    cluster: PreflightCluster = Field(PreflightCluster(), description="The stage's pod.")
