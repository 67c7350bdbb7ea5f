"""How long what document-service keeps may be."""

from typing import Final

#: What a browser's address bar takes, and an index row too.
MAX_URL_LENGTH: Final = 2000
MAX_TITLE_LENGTH: Final = 300
