"""What the whole suite shares: properties are judged by what they find, never by how long a busy machine takes."""

from hypothesis import settings

settings.register_profile("wsprobe", deadline=None)
settings.load_profile("wsprobe")
