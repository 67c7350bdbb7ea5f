"""What operators did to dead letters last, in words; what was done to many at once is one line."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gateway_app.models import AuditRecord
from gateway_app.ops import figures

#: Icon and words of each action; where it is about messages, their number follows.
_WORDS: Final = {
    "replay": ("rotate-ccw", "replayed"),
    "discard": ("trash-2", "discarded"),
    "restore": ("undo-2", "restored"),
    "redirect": ("corner-up-right", "redirected"),
    "edit": ("pencil", "edited and sent"),
    "run": ("rotate-ccw", "began"),
    "canary": ("bird", "began a canary,"),
    "stop": ("square", "stopped"),
    "note": ("file-text", "noted on"),
}
#: Records that are read: more of one action in a row are shown as so many.
_MOST_RECORDS: Final = 500


@dataclass(frozen=True, slots=True)
class Operation:
    """One line."""

    #: Of the newest record of it.
    at: datetime
    key: str
    icon: str
    actor: str
    action: str
    text: str
    service: str
    #: Of the message it is about; empty: of none, or of several.
    message_id: str
    count: int = 1

    @property
    def words(self) -> str:
        """What was done."""
        said = _WORDS[self.action][1]
        return f"{said} {self.text or figures.plural(self.count, 'message')}"


def last(most: int, before: datetime) -> list[Operation]:
    """Return what was done last, the newest first, in one query."""
    done = AuditRecord.objects.filter(action__in=list(_WORDS), at__lte=before)[:_MOST_RECORDS]
    found: list[Operation] = []
    for each in map(_operation, done):
        newest = found[-1] if found else None
        if newest is not None and not each.text and _are_alike(newest, each):
            found[-1] = replace(newest, count=newest.count + 1, message_id="")
        else:
            found.append(each)
    return found[:most]


def _are_alike(one: Operation, other: Operation) -> bool:
    return (one.actor, one.action, one.service) == (other.actor, other.action, other.service)


def _operation(record: AuditRecord) -> Operation:
    text = ""
    if not record.message_id:
        # What was chosen, as programs write it, is for the record itself.
        text = record.detail.partition(" of {")[0]
    return Operation(
        at=record.at,
        key=f"a{record.pk}",
        icon=_WORDS[record.action][0],
        actor=record.actor,
        action=record.action,
        text=text,
        service=record.service,
        message_id=record.message_id,
    )
