"""Two hosts for the tests of this folder."""

from collections.abc import Iterator

import pytest
import two_hosts


@pytest.fixture
def hosts() -> Iterator[two_hosts.TwoHosts]:
    """Two hosts on one machine, removed afterwards whatever happens; skipped where they cannot be had."""
    if reason := two_hosts.missing():
        pytest.skip(reason)
    with two_hosts.TwoHosts() as both:
        yield both
