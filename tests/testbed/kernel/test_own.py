"""A kernel of the user's own: what is taken and what is refused, which changes nothing."""

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from testbed.errors import BadKernelError, KernelUnavailableError
from testbed.kernel import inquiry, recipe
from testbed.kernel.build import build_kernel, ensure_kernel
from testbed.kernel.cache import find_kernel
from testbed.kernel.own import use_built_kernel, use_kernel
from tests.testbed.kernel.played_kernel import (
    CONFIGURATION,
    Workplace,
    kernel_script,
    make_workplace,
)

QUIET = Console(file=io.StringIO())


@pytest.fixture
def place(tmp_path, monkeypatch) -> Workplace:
    return make_workplace(tmp_path, monkeypatch)


def program(place: Workplace, text: str) -> Path:
    file = place.root / "my linux"
    file.write_text(text)
    file.chmod(0o755)
    return file


def test_it_is_copied_and_used_until_the_built_one_is_asked_for_again(place):
    build_kernel(QUIET)
    built = find_kernel()
    mine = program(place, kernel_script("6.8.1-mine"))
    kernel = use_kernel(mine, QUIET)
    mine.unlink()
    assert find_kernel() == ensure_kernel(QUIET) == kernel
    assert (kernel.origin, kernel.version) == ("own", "6.8.1-mine")
    assert kernel.executable.is_file() and kernel.preload.is_file()
    assert kernel.folder.is_relative_to(place.kernels)
    use_built_kernel()
    assert find_kernel() == built


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no program", "is no User-Mode Linux kernel"),
        ("#!/bin/sh\necho 6.12.1\n", "is no User-Mode Linux kernel"),
        ("#!/bin/sh\n# User Mode Linux\n", "does not answer --version"),
        ("#!/bin/sh\n# User Mode Linux\necho 6.12.1\n", "does not answer --showconfig"),
        (kernel_script("6.1.192"), r"is Linux 6\.1\.192; needed is 6\.6 or newer"),
        (
            kernel_script(configuration=CONFIGURATION.replace("TIME_TRAVEL_SUPPORT=y", "X=y")),
            "its configuration lacks CONFIG_UML_TIME_TRAVEL_SUPPORT=y$",
        ),
        (
            kernel_script(configuration=CONFIGURATION.replace("NETEM=y", "NETEM=m")),
            "its configuration lacks CONFIG_NET_SCH_NETEM=y$",
        ),
    ],
)
def test_what_will_not_do_is_told_in_one_line_and_nothing_is_changed(place, text, why):
    good = use_kernel(program(place, kernel_script()), QUIET)
    with pytest.raises(BadKernelError, match=why) as caught:
        use_kernel(program(place, text), QUIET)
    assert "\n" not in str(caught.value) and caught.value.exit_status == 2
    assert find_kernel() == good
    assert place.left_over() == []


@pytest.mark.parametrize("name", ["/absent", "/dev/zero", "/tmp"])
def test_what_is_no_file_is_told(place, name):
    with pytest.raises(BadKernelError, match=f"^{name}: no such file$"):
        use_kernel(Path(name), QUIET)


def test_a_file_that_is_not_executable_is_told(place):
    mine = program(place, kernel_script())
    mine.chmod(0o644)
    with pytest.raises(BadKernelError, match="cannot be run: Permission denied"):
        use_kernel(mine, QUIET)


def test_a_program_that_does_not_answer_is_not_waited_for(place, monkeypatch):
    monkeypatch.setattr(inquiry, "ANSWER_S", 0.3)
    hanging = program(place, "#!/bin/sh\n# User Mode Linux\nexec sleep 100\n")
    with pytest.raises(BadKernelError, match="--version got no answer within"):
        use_kernel(hanging, QUIET)


def test_one_whose_library_is_another_versions_is_told(place, monkeypatch):
    kernel = use_kernel(program(place, kernel_script()), QUIET)
    changed = place.root / "preload.c"
    changed.write_text("/* the next version */")
    monkeypatch.setattr(recipe, "PRELOAD_SOURCE", changed)
    with pytest.raises(KernelUnavailableError, match=r"or of another version: name it again"):
        ensure_kernel(QUIET)
    monkeypatch.setattr(inquiry, "PRELOAD_SOURCE", changed)
    assert use_kernel(kernel.executable, QUIET) == find_kernel()


def test_one_that_is_gone_from_the_cache_is_told_not_replaced(place):
    kernel = use_kernel(program(place, kernel_script()), QUIET)
    shutil.rmtree(kernel.folder)
    assert find_kernel() is None
    with pytest.raises(KernelUnavailableError, match=r"your own, .* is not whole"):
        ensure_kernel(QUIET)
    assert place.calls("make") == []
