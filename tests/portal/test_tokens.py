from __future__ import annotations

import re

import pytest
from sqlalchemy import func, select

from raster_analysis.errors import AccessError, InvalidToken
from raster_analysis.portal import database
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.tokens import GRACE_MS, LONGEST_LIFETIME_S, TRUST_MS
from raster_analysis.portal.users import User


def test_a_token_stands_for_its_user(portal: Portal, alice: User, bob: User) -> None:
    token = portal.tokens.issue("alice", 3600)
    assert portal.tokens.user_of(token.value) == alice
    assert portal.tokens.user_of(portal.tokens.issue("bob", 3600).value) == bob


@pytest.mark.parametrize("change", ["truncated", "longer", "case", "empty", "None", "huge"])
def test_any_other_text_is_no_token(portal: Portal, alice: User, change: str) -> None:
    value = portal.tokens.issue("alice", 3600).value
    text = {
        "truncated": value[:-1], "longer": value + "A", "case": value.swapcase(), "empty": "", "None": "None",
        "huge": "A" * 100_000,
    }[change]  # fmt: skip
    with pytest.raises(InvalidToken, match="Invalid Token"):
        portal.tokens.user_of(text)


def test_a_token_works_ten_minutes_beyond_its_expiry_and_no_longer(portal: Portal, alice: User, time) -> None:  # type: ignore[no-untyped-def]
    token = portal.tokens.issue("alice", 60)
    assert token.expires_ms == time.ms + 60_000
    time.ms = token.expires_ms + GRACE_MS
    assert portal.tokens.user_of(token.value) == alice
    time.ms += 1
    with pytest.raises(InvalidToken):
        portal.tokens.user_of(token.value)


def test_a_revoked_token_is_worthless_at_once(portal: Portal, alice: User) -> None:
    kept, revoked = portal.tokens.issue("alice", 60), portal.tokens.issue("alice", 60)
    portal.tokens.revoke(revoked.value)
    with pytest.raises(InvalidToken):
        portal.tokens.user_of(revoked.value)
    assert portal.tokens.user_of(kept.value) == alice
    portal.tokens.revoke_all("alice")
    with pytest.raises(InvalidToken):
        portal.tokens.user_of(kept.value)


def test_tokens_are_never_stored_or_shown_in_clear(portal: Portal, alice: User) -> None:
    token = portal.tokens.issue("alice", 60)
    portal.close()
    content = b"".join(path.read_bytes() for path in portal.settings.folder.glob("portal.sqlite*"))
    assert token.value.encode() not in content
    assert token.value not in repr(token)
    assert re.fullmatch("[0-9a-f]{64}", token.value)


def test_lifetimes_are_limited(portal: Portal, alice: User, time) -> None:  # type: ignore[no-untyped-def]
    assert portal.tokens.issue("alice", 10**12).expires_ms == time.ms + LONGEST_LIFETIME_S * 1000
    assert portal.tokens.issue("alice", -5).expires_ms > time.ms


def test_expired_tokens_leave_the_table(portal: Portal, alice: User, time) -> None:  # type: ignore[no-untyped-def]
    for _ in range(5):
        portal.tokens.issue("alice", 60)
    time.ms += 60_000 + GRACE_MS + 1
    portal.tokens.issue("alice", 60)
    with portal.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(database.tokens)) == 1


def test_there_is_no_token_for_an_unknown_user(portal: Portal) -> None:
    with pytest.raises(AccessError):
        portal.tokens.issue("nobody", 60)


def test_what_another_process_revokes_is_refused_within_seconds(portal: Portal, alice: User, time) -> None:  # type: ignore[no-untyped-def]
    token = portal.tokens.issue("alice", 3600)
    assert portal.tokens.user_of(token.value) == alice
    other = Portal(portal.settings)
    other.users.set_password("alice", "another horse")
    other.close()
    time.ms += TRUST_MS + 1
    with pytest.raises(InvalidToken):
        portal.tokens.user_of(token.value)
