"""``concertina test``: which checks run, and when all of them count as passed."""

import pytest

from testbed.commands import checks
from testbed.commands.checks import ALL_TESTS, STATIC_CHECKS, UNDISTURBED, Check, run_checks
from testbed.errors import KernelUnavailableError


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """The checks that were run; only those named ``broken`` fail."""
    done: list[Check] = []

    def run(check: Check) -> bool:
        done.append(check)
        return check.name != "broken"

    monkeypatch.setattr(Check, "run", run)
    monkeypatch.setattr(checks, "ensure_kernel", lambda console: None)
    return done


def test_every_test_runs_once_and_those_on_the_real_clock_have_the_machine_to_themselves(
    ran: list[Check],
) -> None:
    assert run_checks([]) == 0
    assert ran == [*STATIC_CHECKS, *ALL_TESTS]
    beside, identity, alone = (check.arguments for check in ALL_TESTS)
    assert (f"not {UNDISTURBED}", UNDISTURBED) == (beside[-2], alone[-1])
    assert beside[-1] == f"--ignore={identity[-1]}"
    assert "-n" in beside and "-n" not in alone


def test_chosen_tests_run_as_pytest_alone_would_run_them(ran: list[Check]) -> None:
    run_checks(["-k", "wire"])
    assert [check.arguments for check in ran[len(STATIC_CHECKS) :]] == [
        ("-m", "pytest", "-k", "wire")
    ]


def test_one_failure_fails_all_and_is_named_and_the_rest_still_runs(
    ran: list[Check], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "STATIC_CHECKS", (Check("broken", ()), Check("sound", ())))
    assert run_checks([]) == 1
    assert len(ran) == 2 + len(ALL_TESTS)
    assert capsys.readouterr().out == "failed: broken\n"


def test_without_the_guests_kernel_the_tests_say_so_and_go_on(
    ran: list[Check], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(console: object) -> None:
        raise KernelUnavailableError("kernel: no space left")

    monkeypatch.setattr(checks, "ensure_kernel", refuse)
    assert run_checks([]) == 0
    assert ran == [*STATIC_CHECKS, *ALL_TESTS]
    assert capsys.readouterr().out == "kernel: no space left\nall checks passed\n"
