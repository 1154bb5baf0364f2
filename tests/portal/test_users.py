from __future__ import annotations

import time as clock
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from raster_analysis.errors import AccessError, BadCredentials, InputError, TooManyLogins
from raster_analysis.portal import throttle
from raster_analysis.portal.database import Database
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.throttle import Throttle
from raster_analysis.portal.users import Role, User, Users


def test_a_user_is_verified_by_the_password_and_by_nothing_else(portal: Portal, alice: User) -> None:
    assert portal.users.verify("alice", "correct horse") == alice
    assert portal.users.verify("ALICE", "correct horse") == alice
    for wrong in ("", "correct hors", "correct horse ", "x" * 5000):
        with pytest.raises(BadCredentials):
            portal.users.verify("alice", wrong)


def test_unknown_user_and_wrong_password_get_the_same_answer(portal: Portal, alice: User) -> None:
    with pytest.raises(BadCredentials) as unknown:
        portal.users.verify("nobody", "correct horse")
    with pytest.raises(BadCredentials) as wrong:
        portal.users.verify("alice", "wrong password")
    assert str(unknown.value) == str(wrong.value)


def test_unknown_user_and_wrong_password_take_similar_time(tmp_path: Path) -> None:
    users = Users(Database(tmp_path / "p.sqlite"), hasher=PasswordHasher(time_cost=2, memory_cost=8192, parallelism=1))
    users.add("alice", "correct horse", Role.VIEWER)

    def seconds(name: str) -> float:
        taken = []
        for _ in range(5):
            begin = clock.perf_counter()
            with pytest.raises(BadCredentials):
                users.verify(name, "wrong password")
            taken.append(clock.perf_counter() - begin)
        return min(taken)

    assert 0.4 < seconds("nobody") / seconds("alice") < 2.5


def test_passwords_are_not_in_the_database(portal: Portal, alice: User) -> None:
    portal.users.verify("alice", "correct horse")
    portal.close()
    files = portal.settings.folder.glob("portal.sqlite*")
    content = b"".join(path.read_bytes() for path in files)
    assert b"$argon2id$" in content
    assert b"correct horse" not in content


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a/b", "a\nb", "<script>", "alice:x"])
def test_unusable_names_are_refused(portal: Portal, name: str) -> None:
    with pytest.raises(InputError, match="not usable"):
        portal.users.add(name, "long enough", Role.VIEWER)


def test_names_are_unique_whatever_their_case(portal: Portal, alice: User) -> None:
    with pytest.raises(InputError, match="taken"):
        portal.users.add("Alice", "long enough", Role.VIEWER)


def test_short_passwords_are_refused(portal: Portal) -> None:
    with pytest.raises(InputError, match="8 to"):
        portal.users.add("carl", "1234567", Role.VIEWER)


def test_the_first_administrator_is_made_once(portal: Portal) -> None:
    password = portal.users.add_first_administrator()
    assert password
    assert portal.users.verify("admin", password).role is Role.ADMINISTRATOR
    assert portal.users.add_first_administrator() is None
    assert [user.name for user in portal.users.list()] == ["admin"]


def test_a_new_password_replaces_the_old_one(portal: Portal, alice: User) -> None:
    portal.users.set_password("alice", "another horse")
    assert portal.users.verify("alice", "another horse") == alice
    with pytest.raises(BadCredentials):
        portal.users.verify("alice", "correct horse")


def test_a_missing_user_is_told_in_the_words_that_clients_look_for(portal: Portal) -> None:
    with pytest.raises(AccessError, match=r"User does not exist or is inaccessible\."):
        portal.users.get("nobody")


def test_many_logins_at_once_hash_two_at_a_time(tmp_path: Path) -> None:
    running, most = 0, 0

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
            nonlocal running, most
            running += 1
            most = max(most, running)
            try:
                return super().verify(hash, password)
            finally:
                running -= 1

    users = Users(Database(tmp_path / "p.sqlite"), hasher=Counting(time_cost=1, memory_cost=1024, parallelism=1))
    alice = users.add("alice", "correct horse", Role.VIEWER)
    with ThreadPoolExecutor(10) as threads:
        assert set(threads.map(lambda _: users.verify("alice", "correct horse"), range(30))) == {alice}
    assert 1 <= most <= 2


def test_guessing_is_slowed_down_for_the_guesser_only() -> None:
    now = 0
    guard = Throttle(clock=lambda: now)
    for _ in range(throttle.FAILURES):
        guard.check("10.0.0.1", "alice")
        guard.count_failure("10.0.0.1", "alice")
    with pytest.raises(TooManyLogins):
        guard.check("10.0.0.1", "alice")
    guard.check("10.0.0.2", "alice")
    guard.check("10.0.0.1", "bob")
    now = throttle.WINDOW_MS + 1
    guard.check("10.0.0.1", "alice")


def test_other_spellings_of_a_name_are_guesses_at_the_same_user() -> None:
    guard = Throttle(clock=lambda: 0)
    for n in range(throttle.FAILURES):
        guard.count_failure("10.0.0.1", "alice" if n % 2 else "ALICE")
    with pytest.raises(TooManyLogins):
        guard.check("10.0.0.1", "Alice")


def test_failures_with_very_long_names_take_no_more_memory_than_others() -> None:
    guard = Throttle(clock=lambda: 0)
    tracemalloc.start()
    for n in range(100):
        guard.count_failure("10.0.0.1", f"{n}" * 100_000)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 1_000_000
