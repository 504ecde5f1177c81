"""The exceptions that are meant for the person at the keyboard."""


class UserError(Exception):
    """A mistake or a limit outside the program: bad flag, missing file, full disk.

    The message is a single line that says what is wrong and what would be right. Command lines
    print it to stderr without a traceback and end with exit status 2; every other exception is a
    defect of jaxcv and keeps its traceback.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))


class Diverged(UserError):
    """Training has left the finite numbers, or all reason: with other settings it may not."""


class Astray(Diverged):
    """A loss that is finite, but of a network that no step leads back from where it is."""
