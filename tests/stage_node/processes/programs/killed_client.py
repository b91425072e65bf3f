"""Has a zygote start an entry, says the id of its process, and kills itself.

Arguments: the entry, as ``Zygote.spawn`` names it, and the file for its log.
"""

import os
import signal
import sys
from pathlib import Path

from stage_node.processes.zygote import Zygote


def main() -> None:
    entry, log = sys.argv[1:]
    zygote = Zygote.start()
    print(zygote.spawn("test", entry, {}, log_path=Path(log)), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
