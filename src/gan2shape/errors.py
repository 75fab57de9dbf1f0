"""Mistakes that a user can make, each told in one line.

The command line shows ``str(error)`` of a `UserError` and exits with status 2, without a traceback. Mistakes of a
caller in Python (a wrong shape, a wrong type) are `ValueError` and `TypeError` as everywhere else.
"""

from __future__ import annotations


class UserError(Exception):
    """A mistake or a condition that the user can put right; its text says what was expected, what came, what to do."""


class InputError(UserError):
    """A picture, mask, latent or truth file that cannot be used."""


class CheckpointError(UserError):
    """A file of weights that cannot be read, is not what it should be, or does not fit."""


class OutputError(UserError):
    """A place that cannot be written: missing rights, locked by another run, full disk."""
