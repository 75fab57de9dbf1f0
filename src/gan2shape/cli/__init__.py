"""The command line: one file per verb, all of them frozen dataclasses that tyro turns into flags.

Nothing here imports torch before a verb really runs, so that ``gan2shape --help`` answers at once.
"""

from gan2shape.cli.main import main as main
