"""Who has which image open."""

from __future__ import annotations

from fewsam.server.tasks.presence import SECONDS, Presence


def test_people_are_where_they_were_seen_last_and_leave_when_they_are_silent() -> None:
    now = [100.0]
    presence = Presence(lambda: now[0])
    presence.note("p1", "nora")
    presence.note("p1", "olaf")
    assert presence.people() == {"p1": ["nora", "olaf"]}
    now[0] += SECONDS / 2
    presence.note("p2", "nora")
    assert presence.people() == {"p1": ["olaf"], "p2": ["nora"]}
    now[0] += SECONDS / 2 + 1
    assert presence.people() == {"p2": ["nora"]}
