"""The login, where UI_USERNAME and a password are set."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from engines.errors import ConfigError
from engines.settings import Settings

Login = Callable[[str, str], bool]


def login(settings: Settings) -> Login | None:
    """Checks a name and password in constant time; None where nobody has to log in.

    Raises ConfigError when one of the two is missing, or the password's file cannot be read.
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


def _password(settings: Settings) -> str:
    given = settings.ui_password.get_secret_value()
    if given or settings.ui_password_file is None:
        return given
    try:
        return settings.ui_password_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"UI_PASSWORD_FILE={settings.ui_password_file} cannot be read: name a readable file") from exc
