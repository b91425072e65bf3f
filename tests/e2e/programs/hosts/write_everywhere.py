"""Writes where it may and where it may not; says what became of it.

The last line: whether the file sys.argv[1] is there, the directory shared with the machine, and the
one of the code.
"""

import sys
from pathlib import Path

import testbed


def main() -> None:
    run, code = Path.cwd(), Path(testbed.__file__).parents[1]
    (run / "new, made.txt").write_text((run / "given.txt").read_text() + " and taken")
    (run / "given.txt").unlink()
    Path("/tmp/scratch").write_text("gone with the guest")
    for forbidden in (code / "x", Path(sys.prefix, "x"), Path("/etc/x")):
        try:
            forbidden.write_text("harm")
        except OSError as error:
            print(error.strerror)
    print(Path(sys.argv[1]).exists(), run, code)


if __name__ == "__main__":
    main()
