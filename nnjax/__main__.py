"""`python -m nnjax` is the `nnjax` command."""

import sys

from nnjax.cli import main

if __name__ == "__main__":
    sys.exit(main())
