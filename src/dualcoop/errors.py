"""Errors that a user can cause and mend; each message says what was wrong, where, and what to do."""


class DualCoOpError(Exception):
    """Base of every error raised on purpose by this package."""


class DataError(DualCoOpError):
    """A label table, an image file, a mask or a split cannot be used as it is."""


class BackboneError(DualCoOpError):
    """A backbone is unknown, unsupported or cannot be loaded, or a size or length does not fit it."""


class ModelError(DualCoOpError):
    """A saved model cannot be read, or does not belong to this backbone or these classes."""


class ConfigError(DualCoOpError):
    """An option has a value that makes no sense, alone or together with another one."""
