"""``python -m fewsam.cli``."""

import sys

from fewsam.cli import main

sys.exit(main())
