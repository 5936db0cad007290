"""`python -m polyglot_async.sandbox`."""

import sys

from ._serve import main

if __name__ == "__main__":
    sys.exit(main())
