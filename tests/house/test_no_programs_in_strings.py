"""A program lies in a file, where ruff, mypy and a reader's editor see it, not in a string.

Two programs in strings once kept the old name of a class: no tool had told who renamed it.
"""

import ast
import re
import subprocess
from collections.abc import Iterator

import pytest

from stage_node.repository import REPOSITORY

LONGEST = 3
"""Lines that a string with an import may have: a probe for ``python -c``."""

NAME = r"[\w.]+(?: as \w+)?"
IMPORT = re.compile(rf"\s*(?:import {NAME}(?:, {NAME})*\s*(?:[;#].*)?$|from [\w.]+ import )")


def test_no_program_lives_in_a_string() -> None:
    listed = subprocess.check_output(["git", "ls-files", "-z", "*.py"], cwd=REPOSITORY, text=True)
    names = listed.split("\0")[:-1]
    assert len(names) > 300
    found = [
        f"{name}:{line}"
        for name in names
        if (REPOSITORY / name).exists()  # deleted, and not yet committed
        for line in programs_in((REPOSITORY / name).read_text())
    ]
    assert found == [], f"programs in strings: {', '.join(found)}"


LINES = ["import sys", "print()", "print()", "print()"]


@pytest.mark.parametrize(
    ("written", "is_program"),
    [
        (repr("\n".join(LINES)), True),
        (repr("\n".join(["", *LINES[:3], ""])), False),
        (repr("\n".join(["x = 1", "from a.b import c", *LINES[1:3]])), True),
        (repr("\n".join(["def late():", "    import sys", *LINES[1:3]])), True),
        (repr("\n".join(["a sentence from", "which you", "import what is", "nothing"])), False),
        (repr("\n".join(["import json, os as o; x = 1", *LINES[1:]])), True),
        ("(" + "\n".join(repr(f"{line}\n") for line in LINES) + ")", True),
        (f'f"""{{x}}\n{chr(10).join(LINES)}"""', True),
        ('("import sys\\n" f"{x}\\n" "a\\nb\\n" f"{y!r}\\n")', True),
    ],
)
def test_a_program_is_known_by_its_length_and_its_imports(written: str, is_program: bool) -> None:
    assert list(programs_in(f"x = y = 0\nz = {written}\n")) == [2] * is_program


def programs_in(source: str) -> Iterator[int]:
    """Lines at which a string of a source text begins that is a program."""
    whole: set[ast.AST] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            whole.update(node.values)  # its parts, which are no strings by themselves
        elif node in whole:
            continue
        if isinstance(node, ast.Constant | ast.JoinedStr) and is_program(text_of(node)):
            yield node.lineno


def text_of(node: ast.Constant | ast.JoinedStr) -> str:
    """The text of a literal; what an f-string inserts is one word."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(text_of(part) if isinstance(part, ast.Constant) else "_" for part in node.values)


def is_program(text: str) -> bool:
    lines = text.strip().splitlines()
    return len(lines) > LONGEST and any(IMPORT.match(line) for line in lines)
