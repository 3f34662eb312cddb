"""The one exception that a user is meant to read."""


class ImpastoError(Exception):
    """A failure that the user can act on: the message is one sentence that says what is wrong and what to do.

    The command line prints the message without a traceback and exits with status 1.
    """
