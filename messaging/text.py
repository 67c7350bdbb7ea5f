"""Text from outside, on its way into the database."""


def storable(text: str) -> str:
    """Write out the characters that UTF-8 (lone surrogates) and PostgreSQL (NUL) cannot hold."""
    return text.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")
