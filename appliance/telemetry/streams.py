"""Where documents go: the data streams of Elasticsearch, and what their templates and policy are called. Pure."""

from __future__ import annotations

from enum import StrEnum

TEMPLATE_PRIORITY = 200
"""Above that of Elasticsearch's own template for `logs-*-*`, which is 100."""


class Stream(StrEnum):
    """A kind of document; the words are the datasets of Elastic's naming scheme (type-dataset-namespace)."""

    PROBE = "vc5.probe"
    """Every probe."""
    EVENT = "vc5.event"
    """What changed and why, what operators did, alarms; and each minute what each service carried."""

    def data_stream(self, namespace: str = "default") -> str:
        """Return the name of the data stream."""
        return f"logs-{self}-{namespace}"
