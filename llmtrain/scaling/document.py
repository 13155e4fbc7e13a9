"""A scaling law as a file: constants, or the runs that it is to be fitted to. `llmtrain ladder -o law` writes one."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from llmtrain.cost.errors import InputError
from llmtrain.scaling.fit import BOUNDS, Fitted, Observation, fit
from llmtrain.scaling.law import FOREIGN_SIGMA, LEAST_EXPONENT, MOST_EXPONENT, PRACTICAL_FLOPS, Foreign, ScalingLaw

SCHEMA = "llmtrain.dev/scaling-law/v1"
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Exponent = Annotated[float, Field(ge=LEAST_EXPONENT, lt=MOST_EXPONENT, allow_inf_nan=False)]
Loss = Annotated[float, Field(gt=0, le=BOUNDS["loss"][1], allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Constants(_Part):
    """L(N, D) = irreducible + a / N^alpha + b / D^beta, nats a token."""

    irreducible: Loss
    a: Positive
    b: Positive
    alpha: Exponent
    beta: Exponent
    sigma: Annotated[float, Field(ge=0, le=1)] = FOREIGN_SIGMA
    """Standard deviation of ln loss of a run that the law was not fitted to."""
    source: str = "given"
    date: str = ""


class RunInput(_Part):
    """One run of one's own."""

    parameters: Positive
    tokens: Positive
    loss: Loss


class LawInput(_Part):
    """Constants, or runs; and the bytes of text in a token, where they are known."""

    schema_: str = Field(SCHEMA, alias="schema", pattern=f"^{SCHEMA}$")
    constants: Constants | None = None
    runs: Annotated[list[RunInput], Field(max_length=10_000)] | None = None
    bytes_per_token: Positive | None = None


def expectation(given: LawInput) -> Foreign | Fitted:
    """The law of a file; its runs go before its constants. InputError names what is missing."""
    if given.runs is not None:
        return fit([Observation(run.parameters, run.tokens, run.loss) for run in given.runs])
    if given.constants is None:
        raise InputError("constants", "must be set where there are no `runs`")
    known = given.constants
    law = ScalingLaw(known.irreducible, known.a, known.b, known.alpha, known.beta, known.source, known.date)
    if not law.splits:
        low, high = PRACTICAL_FLOPS
        said = f"`a`, `b`, `alpha` and `beta` must give {low:g} to {high:g} FLOPs a best split of one parameter and one token or more"
        raise InputError("constants", said)
    return Foreign(law, known.sigma)
