"""A model behind an OpenAI-compatible endpoint."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmtrain.api.base import DecimalString, Model, Rule, cel
from llmtrain.api.cluster import NamedRef
from llmtrain.api.urls import SHAPE, URL, http_rule


class OnUnavailable(StrEnum):
    """What happens when an endpoint does not answer."""

    FAIL = "Fail"
    SKIP = "Skip"


class Endpoint(Model):
    """An OpenAI-compatible server, in the cluster or outside."""

    base_url: Annotated[str, Field(pattern=r"^https?://[^ ]+$", max_length=512), URL] = Field(
        description="Address up to and with the version: http://vllm.models:8000/v1."
    )
    model: Annotated[str, Field(min_length=1, max_length=256)] = Field(description="Name of the model there.")
    api_key_secret_ref: NamedRef | None = Field(None, description="Secret with OPENAI_API_KEY, in the job's namespace.")
    usd_per_million_prompt_tokens: DecimalString = Field("0", description="Price of a million tokens read.")
    usd_per_million_completion_tokens: DecimalString = Field("0", description="Price of a million tokens written.")
    concurrency: int = Field(4, ge=1, le=64, description="Requests in flight.")
    timeout_seconds: int = Field(120, ge=1, le=3600, description="Seconds that one request may take.")
    on_unavailable: OnUnavailable = Field(
        OnUnavailable.FAIL, description="Fail: the stage fails and is tried again; Skip: its scores are left out."
    )

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(rule=http_rule("baseUrl"), message=f"`baseUrl` must be {SHAPE}", field_path=".baseUrl")
        )
    }
