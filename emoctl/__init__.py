"""emoctl: extract emotion-concept vectors, steer with them, replay scenarios, judge, count."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("emoctl")
except PackageNotFoundError:
    __version__ = "0+unknown"
