"""The admin: everything the gateway, outboxes and inboxes keep, to look at.

Rows are changed by the rules in `registry` and its neighbours, `replays`, `recurring`, `tokens`
and `messaging.custody` alone; the admin calls them and edits nothing itself.
"""

from gateway_app.admin import health, messages, recurring, registry, tokens

__all__ = ["health", "messages", "recurring", "registry", "tokens"]
