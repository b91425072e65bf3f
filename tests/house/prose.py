"""Finds the house's old dialect: ``python -m tests.house.prose [FOLDER...]`` lists every place.

The rule is that of technical English: a docstring's first line names an action or a thing, in the
terms of docs/glossary.md; a quantity is named, not asked for ("Bytes of a frame", not "What a frame
takes"). Each pattern stands for a habit that readers had to decode.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stage_node.repository import REPOSITORY
from testbed.hosts.environment import PACKAGES

FIRST_WORDS = re.compile(
    r"(?:What|Which|Whether|How|Where|Who|Whose|Whom|Of|The same|None|Nothing|As far as)\b(?!-)"
)
"""Begins of a docstring that asks for what it should name."""

DIALECT = {
    "what of": "name the quantity",
    "those of": "name them",
    "so many": "give the number a name, or say N",
    "so much": "give the quantity a name",
    "whoever": "name who it is",
    "none where": "None if",
    "none, where": "None if",
    "hears": "receives",
    "believes": "estimates",
    "believed": "estimated",
    "tells": "emits, says, reports, distinguishes",
    "is told": "receives, is given",
    "are told": "receive, are given",
    "was told": "received",
    "goes on": "continues",
    "nobody": "no process, no user",
    "in company": "together",
    "all it takes": "name what is needed",
    "has had": "name the event",
}
PATTERN = re.compile(r"\b(" + "|".join(DIALECT) + r")\b", re.IGNORECASE)


@dataclass(frozen=True)
class Offence:
    """A place in a file, and what is wrong there."""

    file: Path
    line: int
    text: str
    advice: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(REPOSITORY)}:{self.line}: {self.text!r}: {self.advice}"


def offences(file: Path) -> Iterator[Offence]:
    """Find the dialect in the docstrings, comments and texts of a Python file, or in a document."""
    text = file.read_text()
    if file.suffix != ".py":
        yield from _dialect(file, 1, text)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            written = ast.get_docstring(node)
            if written and FIRST_WORDS.match(written):
                first = written.splitlines()[0]
                yield Offence(file, node.body[0].lineno, first, "begin with a verb or the noun")
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield from _dialect(file, node.lineno, node.value)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield from _dialect(file, token.start[0], token.string)


def _dialect(file: Path, line: int, text: str) -> Iterator[Offence]:
    flat = re.sub(r"\s", " ", text)
    for found in PATTERN.finditer(flat):
        begin, end = max(0, found.start() - 30), found.end() + 30
        place = line + text.count("\n", 0, found.start())
        yield Offence(file, place, flat[begin:end], DIALECT[found[1].lower()])


def main() -> None:
    """Print every offence in the folders that the command line names; of all packages without."""
    for folder in sys.argv[1:] or PACKAGES:
        for file in sorted((REPOSITORY / folder).rglob("*.py")):
            for offence in offences(file):
                print(offence)


if __name__ == "__main__":
    main()
