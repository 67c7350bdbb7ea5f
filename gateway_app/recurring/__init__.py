"""Messages that are sent again and again: who says so, and the sending."""
