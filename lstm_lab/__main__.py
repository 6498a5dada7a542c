"""`python -m lstm_lab VERB`."""

import sys

from lstm_lab.cli import process

sys.exit(process())
