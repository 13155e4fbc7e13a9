"""The numbers of an option: the file's where it sets them, else the tables', each with its source."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from llmtrain.api.plan import Owned
from llmtrain.cost import assumptions as a
from llmtrain.cost.chips import Chip
from llmtrain.cost.errors import InputError
from llmtrain.cost.mfu import UNKNOWN_SCALE, Situation, calendar_mfu
from llmtrain.cost.owned import SHARES, SHARES_ABOVE_ZERO, OwnedInputs, camel
from llmtrain.cost.ranges import Range
from llmtrain.cost.tables import chip, rows
from llmtrain.cost.tornado import SWINGS
from llmtrain.decision.document import DecisionInput, FigureInput, Kind, OptionInput
from llmtrain.decision.figures import BOUNDS, Figure
from llmtrain.decision.options import Option

PRICED_CHIP = "H100-SXM-80GB"
"""Whose rent the table has, and whose serving was measured."""
CONTEXT = 4096.0
SPARE_MEMORY = 1.3
"""Memory of a replica over that of its FP8 weights: caches and buffers."""
OWNED_ELSEWHERE = ("discount_rate_per_year", "useful_life_months", "utilization")
OWNED_UNITS = {
    "accelerators": "accelerators",
    "pue": "ratio",
    "power_kw_per_accelerator": "kw",
    "server_per_accelerator_usd": "usdAboveZero",
}
PRICES = ("inputUsdPerMillionTokens", "outputUsdPerMillionTokens")


def options_of(given: DecisionInput) -> list[Option]:
    """All options; InputError names the field that is missing or not allowed."""
    found = [_option(given, each, f"options[{index}]") for index, each in enumerate(given.options)]
    names = [option.name for option in found]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InputError(f"options[{index}].name", f"must be unique, `{name}` is there already")
    known = {name for option in found for name in option.figures}
    _refuse_unknown(given.figures, known, "figures")
    return found


def _option(given: DecisionInput, option: OptionInput, path: str) -> Option:
    accelerator = None if option.kind is Kind.API else _accelerator(option, path)
    figures = {figure.name: figure for figure in _defaults(option, accelerator)}
    shared = {name: value for name, value in given.figures.items() if name in figures or name in _optional(option)}
    _refuse_unknown(option.figures, {*figures, *_optional(option)}, f"{path}.figures")
    for where, each in (("figures", shared), (f"{path}.figures", option.figures)):
        figures |= {name: _set(name, value, _unit(name, figures), f"{where}.{name}") for name, value in each.items()}
    use = given.use
    for name, tokens in (
        ("inputTokensPerMonth", use.input_tokens_per_month),
        ("outputTokensPerMonth", use.output_tokens_per_month),
    ):
        figures[name] = _set(name, tokens, "tokens", f"use.{name}")
    _complete(option, figures, path)
    return Option(
        option.name, option.kind, use.months, option.parameters or 0.0, option.tokens or 0.0, accelerator, figures
    )


def _accelerator(option: OptionInput, path: str) -> Chip:
    for name in ("parameters", "tokens"):
        if getattr(option, name) is None:
            raise InputError(f"{path}.{name}", f"must be set, {option.kind} trains a model")
    try:
        return chip(option.accelerator)
    except InputError as error:
        raise InputError(f"{path}.accelerator", error.message) from error


def _optional(option: OptionInput) -> set[str]:
    """Figures without a default that an option may be given."""
    return set(PRICES) if option.kind is Kind.API else {"acceleratorHours", "rentHourUsd"}


def _unit(name: str, figures: Mapping[str, Figure]) -> str:
    return figures[name].unit if name in figures else "hours" if name == "acceleratorHours" else "usd"


def _refuse_unknown(given: Iterable[str], known: set[str], path: str) -> None:
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise InputError(f"{path}.{name}", f"is no figure here; allowed are {', '.join(sorted(known))}{hint}")


def _set(name: str, given: FigureInput, unit: str, path: str) -> Figure:
    low = given.value if given.low is None else given.low
    high = given.value if given.high is None else given.high
    least, most = BOUNDS[unit]
    for value in (low, given.value, high):
        if not least <= value <= most:
            raise InputError(path, f"must be from {least:g} to {most:g}, not {value:g}")
    return Figure(name, given.value, low, high, unit, given.source, given.date)


def _complete(option: OptionInput, figures: Mapping[str, Figure], path: str) -> None:
    """What has no default must have been given."""
    if option.kind is Kind.API:
        missing = [name for name in PRICES if name not in figures]
        if missing:
            raise InputError(f"{path}.model", _unknown_model(option.model, missing))
    elif "rentHourUsd" not in figures:
        raise InputError(
            f"{path}.figures.rentHourUsd", f"must be set for {option.accelerator}; there is a default for {PRICED_CHIP}"
        )
    elif option.kind is Kind.PRETRAIN_OWNED and figures["serverPerAcceleratorUsd"].value <= 0:
        raise InputError(
            f"{path}.figures.serverPerAcceleratorUsd", f"must be set, the table has none for {option.accelerator}"
        )
    elif option.kind is Kind.PRETRAIN_OWNED and figures["loadShare"].value < figures["idleShare"].value:
        idle = figures["idleShare"].value
        raise InputError(f"{path}.figures.loadShare", f"must be at least `idleShare`, {idle:g}")


def _unknown_model(model: str, missing: list[str]) -> str:
    known = [row["model"] for row in rows("api_prices")]
    near = get_close_matches(model, known, n=3, cutoff=0.4)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return f"has no price: `{model}`; allowed is one of {', '.join(known)}, or any with figures {' and '.join(missing)}{hint}"


def _defaults(option: OptionInput, accelerator: Chip | None) -> list[Figure]:
    found = [_of_row(row) for row in rows("decision") if option.kind in row["kinds"].split()]
    if accelerator is None:
        return found + _api_prices(option.model)
    if accelerator.name != PRICED_CHIP:
        found = [figure for figure in found if figure.name != "rentHourUsd"]
    found += [*_training(option, accelerator), _replica(option, accelerator)]
    if option.kind is not Kind.FINE_TUNE:
        found.append(_curation())
    return found + (_owned(accelerator) if option.kind is Kind.PRETRAIN_OWNED else [])


def _of_row(row: Mapping[str, str]) -> Figure:
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    return Figure(row["name"], value, low, high, row["unit"], row["source"], row["date"])


def _ranged(name: str, value: Range, unit: str, source: str, date: str) -> Figure:
    return Figure(name, value.p50, value.p10, value.p90, unit, source, date)


def _exact(name: str, value: float, unit: str, source: str, date: str) -> Figure:
    return Figure(name, value, value, value, unit, source, date)


def _api_prices(model: str) -> list[Figure]:
    row = next((row for row in rows("api_prices") if row["model"] == model), None)
    if row is None:
        return []
    values = (float(row[f"{side}_usd_per_million_tokens"]) for side in ("input", "output"))
    source = f"{row['vendor']} {model}: {row['source']}"
    return [_exact(name, value, "usd", source, row["date"]) for name, value in zip(PRICES, values, strict=True)]


def _training(option: OptionInput, accelerator: Chip) -> list[Figure]:
    situation = Situation(accelerator.fast, option.parameters or 0.0, CONTEXT, UNKNOWN_SCALE)
    multiplier = a.DEVELOPMENT_MULTIPLIER
    return [
        _ranged("mfu", calendar_mfu(situation), "shareAboveZero", a.MFU_SOURCE, "2026"),
        _ranged("developmentMultiplier", a.DEVELOPMENT, "ratio", multiplier.source, multiplier.date),
    ]


def _curation() -> Figure:
    """Core-hours that a billion tokens of training take, from the speed of curation."""
    size = 1e9 * a.BYTES_PER_TOKEN / a.KEPT_SHARE
    speed = a.CURATION_BYTES_PER_CORE_SECOND
    hours = Range(*(size / each / 3600 for each in (speed.p90, speed.p50, speed.p10)))
    source = f"{a.CURATION_INPUT.value}; {a.CURATION_SPEED.value}: {a.CURATION_SPEED.source}"
    return _ranged("curationCoreHours", hours, "hours", source, a.CURATION_SPEED.date)


def _replica(option: OptionInput, accelerator: Chip) -> Figure:
    """The fewest accelerators that hold the FP8 weights: 1, 2, 4 or whole servers of 8."""
    memory = (accelerator.memory_gb or 80.0) * 1e9
    needed = (option.parameters or 0.0) * SPARE_MEMORY / memory
    count = next((size for size in (1, 2, 4) if size >= needed), 8 * max(1, -(-int(needed + 0.999) // 8)))
    source = f"FP8 weights x {SPARE_MEMORY} over {memory / 1e9:g} GB: assumption"
    return _exact("acceleratorsPerReplica", float(count), "accelerators", source, "2026-11")


def _owned(accelerator: Chip) -> list[Figure]:
    """Inputs of owning, with the ranges of the tornado of rent or own."""
    names = [name for name in OwnedInputs.__dataclass_fields__ if name not in OWNED_ELSEWHERE]
    return [_owned_figure(name, accelerator) for name in names]


def _owned_figure(name: str, accelerator: Chip) -> Figure:
    value, source, date = _owned_value(name, accelerator)
    swing = next((swing for swing in SWINGS if swing.field == name), None)
    low = high = value
    if swing is not None:
        low, high = (end * value if swing.relative else end for end in (swing.low, swing.high))
        source = f"{source}; range: {swing.source}"
    return Figure(camel(name), value, min(low, value), max(high, value), _owned_unit(name), source, date)


def _owned_value(name: str, accelerator: Chip) -> tuple[float, str, str]:
    if name == "accelerators":
        return 64.0, "assumption: say how many are bought", "2026-11"
    if name == "server_per_accelerator_usd":
        return accelerator.price_usd or 0.0, f"{accelerator.name}: {accelerator.source}", accelerator.price_date
    if name == "power_kw_per_accelerator":
        return accelerator.server_kw or 1.0, f"{accelerator.name}: {accelerator.source}", accelerator.price_date
    return float(Owned.model_fields[name].default), "default of a ComputePlan's spec.owned, llmtrain/cost/data", "2026"


def _owned_unit(name: str) -> str:
    if name in SHARES_ABOVE_ZERO:
        return "shareAboveZero"
    if name in SHARES:
        return "shareBelowOne" if name == "network_share" else "share"
    return OWNED_UNITS.get(name, "usd" if name.endswith("usd") else "number")
