"""Settings of the example project."""

from __future__ import annotations

import os

LEADERSHIP = {
    "url": os.environ.get("LEADERSHIP_URL", "sqlite:///leadership.db"),
    "key": "service/reports",
    "ttl": 15,
}

SECRET_KEY = os.environ.get("SECRET_KEY", "only for development")
INSTALLED_APPS = ["reports"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE", "reports.db"),
        "OPTIONS": {"timeout": 20},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
