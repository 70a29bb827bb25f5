"""Exceptions of entk. Each is an :class:`Error` and the built-in class that fits it, and says what
was expected, what was found and what to do."""


class Error(Exception):
    """Anything that entk refuses or fails at."""


class InvalidInput(Error, ValueError):
    """Something that was passed: a shape, a type, NaN, a setting out of range, a file that holds
    something else."""


class FileError(Error, OSError):
    """A file that the system refused to read or write."""


class OutOfMemory(Error, MemoryError):
    """More memory than there is; said before it is taken, where that can be known."""


class ComputationError(Error, ArithmeticError):
    """A solver that did not converge, a training that diverged, a number out of range."""


class InternalError(Error, RuntimeError):
    """A defect of entk."""
