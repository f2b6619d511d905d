"""Foundations: errors, configuration, events, retries, redaction; nothing about recommending."""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.base.config import Config as Config
    from recsys.base.config_file import load_config as load_config
    from recsys.base.dimensions import Choice as Choice
    from recsys.base.dimensions import Range as Range
    from recsys.base.disk import storage_errors as storage_errors
    from recsys.base.environment import tracking_uri as tracking_uri
    from recsys.base.errors import ConfigError as ConfigError
    from recsys.base.errors import DownloadError as DownloadError
    from recsys.base.errors import InputError as InputError
    from recsys.base.errors import NotFoundError as NotFoundError
    from recsys.base.errors import RecsysError as RecsysError
    from recsys.base.errors import RegistryError as RegistryError
    from recsys.base.errors import StorageError as StorageError
    from recsys.base.events import Event as Event
    from recsys.base.events import emit as emit
    from recsys.base.events import listening as listening
    from recsys.base.redaction import one_line as one_line
    from recsys.base.redaction import redact_logs as redact_logs
    from recsys.base.redaction import redacted as redacted
    from recsys.base.retries import retry as retry
    from recsys.base.settings import as_toml as as_toml
    from recsys.base.spelling import closest as closest

__all__ = [
    "Choice",
    "Config",
    "ConfigError",
    "DownloadError",
    "Event",
    "InputError",
    "NotFoundError",
    "Range",
    "RecsysError",
    "RegistryError",
    "StorageError",
    "as_toml",
    "closest",
    "emit",
    "listening",
    "load_config",
    "one_line",
    "redact_logs",
    "redacted",
    "retry",
    "storage_errors",
    "tracking_uri",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".config": ["Config"],
        ".config_file": ["load_config"],
        ".dimensions": ["Choice", "Range"],
        ".disk": ["storage_errors"],
        ".environment": ["tracking_uri"],
        ".errors": [
            "ConfigError",
            "DownloadError",
            "InputError",
            "NotFoundError",
            "RecsysError",
            "RegistryError",
            "StorageError",
        ],
        ".events": ["Event", "emit", "listening"],
        ".redaction": ["one_line", "redact_logs", "redacted"],
        ".retries": ["retry"],
        ".settings": ["as_toml"],
        ".spelling": ["closest"],
    },
)
