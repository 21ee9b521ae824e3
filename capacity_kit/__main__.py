"""``python -m capacity_kit``: the same as ``capacity``."""

import sys

from capacity_kit.cli import main

sys.exit(main())
