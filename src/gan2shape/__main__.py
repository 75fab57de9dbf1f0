"""``python -m gan2shape``."""

import sys

from gan2shape.cli import main

sys.exit(main())
