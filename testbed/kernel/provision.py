"""The system packages that building a kernel needs, through ``provision/system-packages``."""

import subprocess

from stage_node.repository import REPOSITORY
from testbed.errors import KernelUnavailableError

SCRIPT = str(REPOSITORY / "provision" / "system-packages")


def missing_packages() -> list[str]:
    """Name the packages that the build needs and that are not installed."""
    command = [SCRIPT, "--kernel", "--missing"]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return answer.stdout.split()


def install_packages() -> None:
    """Install what is missing; the script says what it does, and may ask for a password."""
    if subprocess.run([SCRIPT, "--kernel"]).returncode:
        raise KernelUnavailableError(
            "kernel: building the guest's kernel needs packages that could not be installed: "
            f"sudo apt-get install {' '.join(missing_packages())}"
        )


def fetch_package_lists() -> None:
    """Fetch apt's lists of packages anew; where that does not work, the script has said why."""
    subprocess.run([SCRIPT, "--lists"])
