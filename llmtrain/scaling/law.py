"""Loss by size and data: L(N, D) = E + A / N^alpha + B / D^beta, in nats a token, and the best split of FLOPs.

The form and how to fit it are approach 3 of Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models" (arXiv
2203.15556, equation 2 and appendix D.3). The constants that are taken where nobody gives others are the re-fit of the same
runs by Besiroglu et al. 2024, "Chinchilla Scaling: A replication attempt" (arXiv 2404.10102): those published first fit
the runs worse and contradict the paper's own approaches 1 and 2. N counts all parameters, D tokens; training costs 6 N D.

This module imports nothing of ours but `llmtrain.cost.ranges`: the API sizes `preset: auto` by it.
"""

import math
from dataclasses import dataclass

from llmtrain.cost.ranges import Range, lognormal

PRACTICAL_FLOPS = (1e15, 1e30)
"""Of a training, the least and the most that a law is asked about."""
LEAST_EXPONENT, MOST_EXPONENT = 0.01, 2.0


@dataclass(frozen=True)
class ScalingLaw:
    """The five constants, and where they are from. E is what no model and no data can lower."""

    irreducible: float
    a: float
    b: float
    alpha: float
    beta: float
    source: str = ""
    date: str = ""

    def loss(self, parameters: float, tokens: float) -> float:
        """Nats a token of a model of this size after so many tokens."""
        size, data = self.parts(parameters, tokens)
        return self.irreducible + size + data

    def parts(self, parameters: float, tokens: float) -> tuple[float, float]:
        """What is lost for the model's size, and what for want of data."""
        return self.a / math.pow(parameters, self.alpha), self.b / math.pow(tokens, self.beta)

    def best_parameters(self, flops: float) -> float:
        """N of the least loss that 6 N D = `flops` can buy: there alpha A / N^alpha = beta B / D^beta."""
        ratio = math.pow(self.alpha * self.a / (self.beta * self.b), 1 / (self.alpha + self.beta))
        return ratio * math.pow(flops / 6, self.beta / (self.alpha + self.beta))

    def best_split(self, flops: float) -> tuple[float, float]:
        """Parameters and tokens of the least loss for these FLOPs."""
        parameters = self.best_parameters(flops)
        return parameters, flops / 6 / parameters

    @property
    def splits(self) -> bool:
        """Whether trainings of practical FLOPs have a best split of at least one parameter and one token."""
        apart = math.log(self.alpha) + math.log(self.a) - math.log(self.beta) - math.log(self.b)
        most = [math.log(flops / 6) for flops in PRACTICAL_FLOPS]
        return all(0 <= (apart + self.beta * each) / (self.alpha + self.beta) <= each for each in most)

    def parameters_for(self, tokens: float) -> float:
        """N whose best number of tokens is this."""
        data = self.beta * self.b / math.pow(tokens, self.beta)
        return math.pow(self.alpha * self.a / data, 1 / self.alpha)

    def tokens_for(self, parameters: float) -> float:
        """D whose best number of parameters is this."""
        size = self.alpha * self.a / math.pow(parameters, self.alpha)
        return math.pow(self.beta * self.b / size, 1 / self.beta)

    def flops_for(self, loss: float) -> float:
        """The fewest FLOPs, well split, that reach this loss; infinite at E and below."""
        if loss <= self.irreducible:
            return math.inf
        low, high = 1.0, 1e40
        for _ in range(200):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self.loss(*self.best_split(middle)) > loss else (low, middle)
        return high


def are_exponents(alpha: float, beta: float) -> bool:
    """Whether these can be the exponents of a law."""
    return all(LEAST_EXPONENT <= each < MOST_EXPONENT for each in (alpha, beta))


BESIROGLU = ScalingLaw(
    1.8172,
    482.01,
    2085.43,
    0.3478,
    0.3658,
    "Besiroglu et al. 2024, arXiv 2404.10102: 240 runs of Chinchilla",
    "2024-04",
)
HOFFMANN = ScalingLaw(
    1.69, 406.4, 410.7, 0.34, 0.28, "Hoffmann et al. 2022, arXiv 2203.15556, approach 3 as it was published", "2022-03"
)
FOREIGN_SIGMA = 0.1
"""Standard deviation of ln loss where a law of others is taken to one's own data and tokenizer: an assumption. Over the
same English web text the published laws differ by 2 %; code or another vocabulary move the loss by more than that."""


@dataclass(frozen=True)
class Foreign:
    """A law that somebody else fitted to other data; `sigma` is of ln loss."""

    law: ScalingLaw = BESIROGLU
    sigma: float = FOREIGN_SIGMA

    def loss(self, parameters: float, tokens: float) -> Range:
        """p10, p50 and p90 of the loss of a run of this size."""
        return lognormal(self.law.loss(parameters, tokens), self.sigma)


def bits_per_byte(loss: float, bytes_per_token: float) -> float:
    """Nats a token as bits a byte of text, which does not depend on the tokenizer."""
    return loss / math.log(2) / bytes_per_token
