"""notifications: writes e-mails about what others have done."""
