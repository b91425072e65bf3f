"""Says what the kernel gives for entropy."""

import os
import uuid


def main() -> None:
    print(os.urandom(16).hex(), uuid.uuid4())


if __name__ == "__main__":
    main()
