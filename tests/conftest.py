"""How hypothesis runs here: without a deadline, for speed is measured in bench/ and never asserted by a test."""

from hypothesis import settings

settings.register_profile("wsprobe", deadline=None)
settings.load_profile("wsprobe")
