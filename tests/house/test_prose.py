"""Docstrings, comments, texts and documents are written in plain technical English."""

import pytest

from stage_node.repository import REPOSITORY
from testbed.hosts.environment import PACKAGES
from tests.house.prose import offences

DOCUMENTS = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_written_in_plain_english(package):
    files = sorted((REPOSITORY / package).rglob("*.py"))
    assert [str(offence) for file in files for offence in offences(file)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_is_written_in_plain_english(document):
    assert [str(offence) for offence in offences(document)] == []


def test_the_dialect_is_found(tmp_path):
    file = tmp_path / "old.py"
    file.write_text(
        '"""What of a frame is there."""\n\n# so many of them\nTEXT = "none where it is"\n'
    )
    assert [offence.line for offence in offences(file)] == [1, 1, 4, 3]
