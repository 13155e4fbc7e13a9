"""The evaluator against what the language's definition says; `tests/api` asks the apiserver itself."""

from typing import Any

import pytest

from llmtrain.api.cel import CelError, compile_rule, holds
from llmtrain.api.crd import crds

VALUE: dict[str, Any] = {"a": 3, "b": -7, "s": "x/y", "list": [{"n": 1}, {"n": 2}], "map": {"k": "v"}, "t": True}
TRUE = [
    "self.a == 3 && self.b == -7",
    "self.b / 2 == -3 && self.b % 2 == -1",  # towards zero, sign of the dividend
    "self.a * 2 + 1 == 7 || false",
    "has(self.a) && !has(self.none) && !has(self.map.none)",
    "self.none == 1 || true",
    "true || self.none == 1",
    "!(false && self.none == 1) && !(self.none == 1 && false)",
    "(has(self.none) ? 1 : 0) + (has(self.a) ? 1 : 0) == 1",
    "self.t ? self.a > 2 : self.none",
    "self.list.all(x, x.n > 0) && self.list.exists(x, x.n == 2) && !self.list.exists(x, x.n == 3)",
    "self.map.all(k, k == 'k') && size(self.map) == 1 && self.list.size() == 2",
    "self.s.split('/')[1] == 'y' && self.s.contains('/') && self.s.startsWith('x') && self.s.endsWith('y')",
    "self.s.matches('^[a-z]/[a-z]$') && !'x\n'.matches('^x$')",
    "'a' in ['a', \"b\"] && !('c' in ['a'])",
    "double('0.5') <= 0.5 && int('7') == 7",
    "self.list.map(x, x.n).sum() == 3 && self.list.filter(x, x.n > 1).size() == 1 && self.list.exists_one(x, x.n > 1)",
    "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 7 - 2 - 1 == 4",
]
BROKEN = ["self.none == 1", "self.none == 1 || false", "1 / 0 == 1", "double('x') > 0.0", "self.a"]


@pytest.mark.parametrize("rule", TRUE)
def test_what_is_true(rule: str) -> None:
    assert holds(rule, VALUE)
    assert not holds(f"!({rule})", VALUE)


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_that_fails_to_evaluate_is_not_satisfied_and_its_opposite_neither(rule: str) -> None:
    assert not holds(rule, VALUE)
    if rule != "self.a":
        assert not holds(f"!({rule})", VALUE)


@pytest.mark.parametrize("rule", ["self.a ==", "self.a # 1", "quantity(self.s)", "self.list.flatten()", "(1", "1 2"])
def test_what_is_not_understood_is_an_error(rule: str) -> None:
    with pytest.raises(CelError):
        compile_rule(rule)


def rules(node: Any) -> list[str]:
    if isinstance(node, list):
        return [rule for child in node for rule in rules(child)]
    if not isinstance(node, dict):
        return []
    own = [str(entry["rule"]) for entry in node.get("x-kubernetes-validations", [])]
    own = [rule for rule in own if "oldSelf" not in rule]  # what may change is for the apiserver alone
    return own + [rule for child in node.values() for rule in rules(child)]


@pytest.mark.parametrize("rule", sorted({rule for crd in crds() for rule in rules(crd)}))
def test_every_rule_that_looks_at_the_new_value_alone_is_understood(rule: str) -> None:
    compile_rule(rule)
