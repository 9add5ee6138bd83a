"""What can go wrong because of something a user gave us, in words that help.

The command line prints these messages and nothing else; in Python they are ordinary exceptions,
and each is also the built-in error that a reader would expect to catch. Shape and dtype mistakes
in operations are not here: they are plain ValueError, TypeError and IndexError, as in PyTorch.
"""


class UserError(Exception):
    """Base of all. The message names what was given, what is accepted, and the remedy."""

    def __str__(self) -> str:
        # KeyError and OSError have a __str__ of their own, which would add quotes or an errno.
        return str(self.args[0]) if self.args else type(self).__name__


class DataError(UserError, ValueError):
    """A corpus or data set that cannot be used: missing, empty, binary, too short, ..."""


class TokenizerError(UserError, ValueError):
    """A vocabulary, merge list or text that a tokenizer cannot work with."""


class CheckpointError(UserError, ValueError):
    """A checkpoint that is truncated, altered, or does not fit the model."""


class ConfigError(UserError, ValueError):
    """A configuration value that makes no sense, with the field's name."""


class FetchError(UserError, OSError):
    """A download that failed, with the place where the file can be put by hand."""


class TrainingError(UserError, ArithmeticError):
    """A run that cannot go on (a loss that is not finite), with what was kept."""
