"""Names of the files of a curation's work. What is finished stays, so that another run need not read the sources again."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """`signals`: key of what depends on sources, edits and signatures; a run with other rules shares it."""

    signals: str

    @property
    def root(self) -> str:
        """Folder of the work."""
        return f"work/curation/{self.signals}"

    @property
    def plan(self) -> str:
        """The list of parts."""
        return f"{self.root}/parts.json"

    def part(self, part: int) -> str:
        """Written last: what a part holds."""
        return f"{self.root}/parts/{part:06d}/part.json"

    def chunk(self, part: int, chunk: int, kind: str) -> str:
        """`kind`: text, signals or bands."""
        return f"{self.root}/parts/{part:06d}/{chunk:05d}.{kind}"

    def step(self, step: str, key: str, name: str) -> str:
        """A file of a later step, which depends on more than the signals."""
        return f"{self.root}/{step}/{key}/{name}"
