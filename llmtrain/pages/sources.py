"""Numbered sources: every number of a page carries the number of what it rests on."""

from dataclasses import fields

from llmtrain.cost.assumptions import MFU_SOURCE
from llmtrain.cost.owned import OwnedInputs, camel
from llmtrain.cost.plans import Plan
from llmtrain.text import escaped

MODEL = (
    "Rent or own: net present value, months discounted at the plan's rate; owned = capital + colocation, upkeep, staff "
    "and power - resale; rent = list price + 8 % for egress, storage and idle tails; 730 hours a month"
)


class Sources:
    """Collects sources in the order in which the page first needs them."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def price(self, plan: Plan) -> str:
        """Reference to where a plan's price comes from."""
        if plan.owned is not None:
            return self._reference(f"ComputePlan {plan.name}, spec.owned: {_inputs(plan.owned)}")
        quote = plan.quote
        said = f"{quote.name}, {quote.date}" if quote.name else "the manifest gives no source"
        return self._reference(f"ComputePlan {plan.name}, spec.rented: {said}")

    def speed(self, plan: Plan) -> str:
        """Reference to what the hours rest on."""
        if plan.chip is None:
            return self._reference(f"Hours: {MFU_SOURCE}")
        peak = f"{plan.chip.name}, {plan.chip.peak_tflops:g} TFLOP/s dense bf16 ({plan.chip.source})"
        return self._reference(f"Hours: calendar MFU from {MFU_SOURCE}") + self._reference(f"Peak: {peak}")

    def model(self) -> str:
        """Reference to the formulas."""
        return self._reference(MODEL)

    def section(self) -> str:
        """The list."""
        items = "".join(f'<li id="s{number}">{escaped(text)}</li>' for text, number in self._numbers.items())
        return f'<h2>Sources</h2><ol class="sources">{items}</ol>'

    def _reference(self, text: str) -> str:
        number = self._numbers.setdefault(text, len(self._numbers) + 1)
        return f'<sup><a href="#s{number}">{number}</a></sup>'


def _inputs(owned: OwnedInputs) -> str:
    return ", ".join(f"{camel(field.name)} {getattr(owned, field.name):g}" for field in fields(owned))
