"""What the documents say of the repository is there."""

import re

import pytest

from stage_node.repository import REPOSITORY

DOCUMENTS = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *REPOSITORY.glob("docs/**/*.md"),
        *REPOSITORY.glob("testbed/checkpoints/*.md"),
    ]
)
PACKAGED = re.compile(
    r"`((?:analysis|controller|docs|stage_node|testbed|tests|topologies)/[\w./*-]+)`"
)
LINKED = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")
HISTORY = {"CHANGELOG.md"}
"""Documents that name files of their time."""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_the_files_that_a_document_names_are_there(document):
    text = document.read_text()
    named = set() if document.name in HISTORY else set(PACKAGED.findall(text))
    missing = [name for name in named if not list(REPOSITORY.glob(name))]
    missing += [link for link in LINKED.findall(text) if not (document.parent / link).exists()]
    assert missing == []
