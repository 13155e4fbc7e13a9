"""The rules of the CRDs, evaluated in Python: what the apiserver refuses, every other reader refuses with the same words.

A rule is written once, in the Common Expression Language. This evaluates the part of the language that our rules use:
fields, literals, operators, `has`, `size`, `double`, `int`, macros over lists, and methods of strings; of optionals only
`oldSelf` where it is one. `tests/api` holds the answers against those of a real apiserver.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

Scope = Mapping[str, Any]
Term = Callable[[Scope], Any]
TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.\d+|\d+)|(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>\|\||&&|==|!=|<=|>=|[-+*/%<>!?:.,()\[\]]))"
)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}


class CelError(Exception):
    """A rule that cannot be evaluated; the apiserver takes such a rule for broken as well."""


@lru_cache(maxsize=1024)
def compile_rule(text: str) -> Term:
    """The rule as a function of its scope. CelError where the rule uses what is not known here."""
    parser = _Parser(text)
    term = parser.choice()
    parser.end()
    return term


def holds(text: str, value: Any, old: Any = None) -> bool:
    """Whether a value satisfies the rule; a rule that fails to evaluate is not satisfied. CelError as compile_rule.

    `old` is what it was before; a new value has none.
    """
    compile_rule(text)
    try:
        return evaluate(text, value, old) is True
    except CelError:
        return False


def evaluate(text: str, value: Any, old: Any = None) -> Any:
    """What the rule says of a value. CelError where it fails to, and as compile_rule."""
    return compile_rule(text)({"self": value, "oldSelf": old})


def found_in(pattern: str, text: str) -> bool:
    """Whether an RE2 pattern matches somewhere in a text."""
    return re.search(_python_pattern(pattern), text) is not None


class _Parser:
    """Recursive descent: one method a level of precedence."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.at = text, _tokens(text), 0

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def take(self, *signs: str) -> str:
        """The next token, if it is one of these."""
        if self.peek() in signs and self.tokens[self.at][0] != "string":
            self.at += 1
            return self.tokens[self.at - 1][1]
        return ""

    def expect(self, sign: str) -> None:
        if not self.take(sign):
            raise CelError(f"`{sign}` expected at {self.peek()!r} in: {self.text}")

    def end(self) -> None:
        if self.at < len(self.tokens):
            raise CelError(f"unexpected {self.peek()!r} in: {self.text}")

    def choice(self) -> Term:
        condition = self.either()
        if not self.take("?"):
            return condition
        yes = self.choice()
        self.expect(":")
        no = self.choice()
        return lambda scope: yes(scope) if condition(scope) else no(scope)

    def either(self) -> Term:
        term = self.both()
        while self.take("||"):
            term = _absorbing(term, self.both(), True)
        return term

    def both(self) -> Term:
        term = self.relation()
        while self.take("&&"):
            term = _absorbing(term, self.relation(), False)
        return term

    def relation(self) -> Term:
        term = self.sum()
        while sign := self.take("==", "!=", "<=", ">=", "<", ">", "in"):
            term = _operation(sign, term, self.sum())
        return term

    def sum(self) -> Term:
        term = self.product()
        while sign := self.take("+", "-"):
            term = _operation(sign, term, self.product())
        return term

    def product(self) -> Term:
        term = self.unary()
        while sign := self.take("*", "/", "%"):
            term = _operation(sign, term, self.unary())
        return term

    def unary(self) -> Term:
        if self.take("!"):
            inner = self.unary()
            return lambda scope: not inner(scope)
        if self.take("-"):
            inner = self.unary()
            return lambda scope: -inner(scope)
        return self.member()

    def member(self) -> Term:
        term = self.primary()
        while sign := self.take(".", "["):
            if sign == "[":
                term = _operation("[]", term, self.choice())
                self.expect("]")
                continue
            name = self.name()
            term = self.method(term, name) if self.take("(") else _field(term, name)
        return term

    def method(self, term: Term, name: str) -> Term:
        if name in MACROS:
            variable = self.name()
            self.expect(",")
            condition = self.choice()
            self.expect(")")
            return _macro(name, term, variable, condition)
        return _call(name, [term, *self.arguments()])

    def arguments(self) -> list[Term]:
        """Up to the closing bracket."""
        found: list[Term] = []
        while not self.take(")"):
            found.append(self.choice())
            self.take(",")
        return found

    def name(self) -> str:
        kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        if kind != "name":
            raise CelError(f"a name expected at {text!r} in: {self.text}")
        self.at += 1
        return text

    def primary(self) -> Term:
        if self.take("("):
            inner = self.choice()
            self.expect(")")
            return inner
        if self.take("["):
            return self.listing()
        kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        self.at += 1
        if kind == "number":
            number = float(text) if "." in text else int(text)
            return lambda _: number
        if kind == "string":
            plain = re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[1]), text[1:-1])
            return lambda _: plain
        if kind != "name":
            raise CelError(f"unexpected {text!r} in: {self.text}")
        return self.word(text)

    def word(self, text: str) -> Term:
        if text in WORDS:
            return lambda _: WORDS[text]
        if not self.take("("):
            return lambda scope: scope[text]
        if text == "has":
            path = self.choice()
            self.expect(")")
            return lambda scope: _present(path, scope)
        return _call(text, self.arguments())

    def listing(self) -> Term:
        items: list[Term] = []
        while not self.take("]"):
            items.append(self.choice())
            self.take(",")
        return lambda scope: [item(scope) for item in items]


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(text.rstrip()):
        match = TOKEN.match(text, at)
        if match is None:
            raise CelError(f"what does not belong to the language, at {text[at : at + 10]!r} in: {text}")
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        at = match.end()
    return found


def _field(term: Term, name: str) -> Term:
    def read(scope: Scope) -> Any:
        value = term(scope)
        if not isinstance(value, Mapping) or name not in value:
            raise CelError(f"no such key: {name}")
        return value[name]

    return read


def _present(path: Term, scope: Scope) -> bool:
    try:
        path(scope)
    except CelError:
        return False
    return True


def _absorbing(left: Term, right: Term, decisive: bool) -> Term:
    """`||` and `&&`: a side that decides wins over an error of the other."""

    def join(scope: Scope) -> bool:
        try:
            if bool(left(scope)) is decisive:
                return decisive
        except CelError:
            if bool(right(scope)) is decisive:
                return decisive
            raise
        return bool(right(scope))

    return join


def _macro(name: str, term: Term, variable: str, condition: Term) -> Term:
    return lambda scope: MACROS[name](term(scope), lambda item: condition({**scope, variable: item}))


MACROS: dict[str, Callable[[Any, Callable[[Any], Any]], Any]] = {
    "all": lambda items, holds: all(bool(holds(item)) for item in items),
    "exists": lambda items, holds: any(bool(holds(item)) for item in items),
    "exists_one": lambda items, holds: sum(bool(holds(item)) for item in items) == 1,
    "filter": lambda items, holds: [item for item in items if holds(item)],
    "map": lambda items, of: [of(item) for item in items],
}
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "in": lambda a, b: a in b,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if isinstance(a, float) else _whole(a, b, "division by zero"),
    "%": lambda a, b: a - b * _whole(a, b, "modulus by zero"),
    "[]": lambda a, b: a[b],
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "size": len,
    "sum": sum,
    "min": min,
    "max": max,
    "double": float,
    "int": int,
    "string": str,
    "contains": lambda text, part: part in text,
    "startsWith": lambda text, part: text.startswith(part),
    "endsWith": lambda text, part: text.endswith(part),
    "matches": lambda text, pattern: found_in(pattern, text),
    "split": lambda text, part: text.split(part),
    "hasValue": lambda optional: optional is not None,
    "value": lambda optional: optional,
}


def _whole(a: int, b: int, said: str) -> int:
    """Division that rounds towards zero, as Go's does."""
    if b == 0:
        raise ZeroDivisionError(said)
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _python_pattern(pattern: str) -> str:
    """`$` is the end of the text in RE2; Python's also matches before a last line break."""
    return re.sub(r"(?<!\\)\$(?!\])", r"\\Z", pattern)


def _operation(sign: str, left: Term, right: Term) -> Term:
    return lambda scope: _safely(OPERATIONS[sign], left(scope), right(scope))


def _call(name: str, arguments: list[Term]) -> Term:
    if name not in FUNCTIONS:
        raise CelError(f"function {name} is not known")
    return lambda scope: _safely(FUNCTIONS[name], *(argument(scope) for argument in arguments))


def _safely(function: Callable[..., Any], *values: Any) -> Any:
    try:
        return function(*values)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise CelError(str(error)) from error
