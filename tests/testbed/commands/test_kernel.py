"""``concertina kernel`` and the doctor's lines, as a user sees them."""

import pytest

from testbed.commands import cli, doctor
from tests.testbed.kernel.played_kernel import Workplace, kernel_script, make_workplace


@pytest.fixture
def place(tmp_path, monkeypatch) -> Workplace:
    return make_workplace(tmp_path, monkeypatch)


@pytest.fixture
def concertina(monkeypatch, capsys):
    """Run a command line; exit status, output, errors."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["concertina", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.mark.parametrize("words", [("kernel",), ("kernel", "status")])
def test_without_a_kernel_it_says_what_a_build_would_take(place, concertina, words):
    (place.bin / "bison").unlink()
    status, said, _ = concertina(*words)
    assert status == 1
    assert said.splitlines() == [
        "kernel: not built yet",
        "to build it, about 4 min on two processors: ./concertina kernel build",
        "packages missing for that: bison",
    ]


def test_built_it_says_which_and_where(place, concertina):
    assert concertina("kernel", "build")[0] == 0
    status, said, _ = concertina("kernel")
    lines = said.splitlines()
    assert status == 0
    assert lines[:2] == ["kernel: Linux 6.12.117, built here", "clock: virtual, or real"]
    assert lines[2].startswith(f"file: {place.kernels}")


def test_one_of_ones_own_and_back(place, concertina):
    concertina("kernel", "build")
    mine = place.root / "linux"
    mine.write_text(kernel_script("6.8.1"))
    mine.chmod(0o755)
    assert "Linux 6.8.1, your own" in concertina("kernel", "use", str(mine))[1]
    assert "Linux 6.8.1, your own" in concertina("kernel")[1]
    assert "Linux 6.12.117, built here" in concertina("kernel", "use", "built")[1]


def test_what_is_no_kernel_is_bad_input(place, concertina):
    status, said, errors = concertina("kernel", "use", "/bin/sh")
    assert (status, said) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("concertina: /bin/sh: is no User-Mode Linux kernel")
    assert not place.kernels.exists()


def test_the_doctor_has_a_line_for_it(place, concertina):
    (place.bin / "bison").unlink()
    rows = doctor._kernel_rows()
    assert [row.good for row in rows] == [False, False, False]
    assert rows[-1].found == "packages missing for that: bison"
    place.provide("bison")
    concertina("kernel", "build")
    (row,) = doctor._kernel_rows()
    assert row.good and row.found.startswith("Linux 6.12.117, ")
