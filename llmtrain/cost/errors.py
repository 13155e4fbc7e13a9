"""What is wrong with an input, and which field says so."""


class InputError(ValueError):
    """An input that cannot be priced: `field` is its path in the manifest, the message says what is allowed."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"`{field}`: {message}")
        self.field = field
        self.message = message
