"""`python -m lstm_lab VERB`."""

import sys

from lstm_lab.cli import main

sys.exit(main())
