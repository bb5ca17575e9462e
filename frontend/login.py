"""The optional login (UI_USERNAME and a password), and what visitors may do without one."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from config.errors import ConfigError
from config.settings import Settings


def login(settings: Settings) -> Callable[[str, str], bool] | None:
    """Returns a function that checks a name and password in constant time, or None if no login is set.

    Raises ConfigError if only one of the two is set, or if the password file cannot be read.
    """
    password = _password(settings)
    if bool(settings.ui_username) != bool(password):
        missing = "UI_USERNAME" if password else "UI_PASSWORD (or UI_PASSWORD_FILE)"
        raise ConfigError(f"a login needs a name and a password: set {missing} too")
    if not password:
        return None

    def check(name: str, given: str) -> bool:
        right = hmac.compare_digest(name.encode(), settings.ui_username.encode())
        return hmac.compare_digest(given.encode(), password.encode()) and right

    return check


def refusal(settings: Settings, environ: Mapping[str, str]) -> str:
    """Returns why visitors may not restart engines or start and cancel benchmarks; empty if they may.

    They may if there is a login, or if the page can be reached only from this machine. A container listens on all its
    addresses, so UI_PUBLISHED_ON, the address on which Compose publishes it, decides there.
    """
    reached = environ.get("UI_PUBLISHED_ON") or settings.bind_host
    if login(settings) or _is_loopback(reached):
        return ""
    return (
        f"The page can be reached from other machines ({reached}) and asks for no login, so it restarts no "
        "engines and runs no benchmarks: set UI_USERNAME and UI_PASSWORD (.env), and start it again."
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _password(settings: Settings) -> str:
    given = settings.ui_password.get_secret_value()
    if given or settings.ui_password_file is None:
        return given
    try:
        return settings.ui_password_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"UI_PASSWORD_FILE={settings.ui_password_file} cannot be read: name a readable file") from exc
