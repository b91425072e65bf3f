"""Says how long the first configuration of the file sys.argv[1] takes to load, in CPU time."""

import sys
import time
from pathlib import Path

from stage_node.accordion.prefix import PrefixReader


def main() -> None:
    reader = PrefixReader()
    reader.feed(Path(sys.argv[1]).read_bytes())
    begin = time.process_time()
    reader.load(reader.completed()[0])
    print(time.process_time() - begin)


if __name__ == "__main__":
    main()
