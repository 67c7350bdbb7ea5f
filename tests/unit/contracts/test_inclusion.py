"""Whether a receiver takes all that a sender sends: never a yes that a document belies."""

from collections import Counter

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from messaging.contracts.inclusion import gaps_between
from tests.unit.contracts.schemas import changed, documents, is_valid, schemas

SEEN: Counter[str] = Counter()
LASTING = settings(
    max_examples=600,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@LASTING
@given(st.data())
def test_no_document_of_a_sender_is_refused_where_nothing_is_found(data: st.DataObject) -> None:
    sent = data.draw(schemas())
    taken = data.draw(st.one_of(changed(sent), changed(sent), schemas()))
    assume(sent != taken)
    verdicts = {gap.verdict for gap in gaps_between(sent, taken)}
    SEEN[",".join(sorted(verdicts)) or "compatible"] += 1
    if verdicts:
        return
    for document in data.draw(st.lists(documents(sent), min_size=6, max_size=12)):
        if is_valid(sent, document):
            SEEN["documents"] += 1
            assert is_valid(taken, document), document
