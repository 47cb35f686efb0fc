from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from segue.presets.vocabulary import Cancelled, Code, Event, Failure, Progress, SegueError, State
from segue.server.desk import Desk
from segue.server.jobs import Job, advance
from segue.server.store import DATABASE, SCHEMA_VERSION, Store
from tests.recorder import Transcript, make_request, result_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty data folder, open."""
    with closing(Store(tmp_path)) as store:
        yield store


def waiting(job_id: str, place: int) -> Job:
    """A job that was just submitted."""
    event = Progress(id=job_id, fraction=0.0, stage=State.QUEUED)
    request = make_request(job_id, seed=place)
    return Job(request=request, event=event, state=State.QUEUED, place=place)


def running(job_id: str, place: int, attempts: int = 1) -> Job:
    """A job that was being made."""
    event = Progress(id=job_id, fraction=0.5, stage=State.DECODING, loss=0.25)
    job = waiting(job_id, place)
    return replace(job, event=event, state=State.DECODING, attempts=attempts)


def finished(job_id: str, place: int) -> Job:
    """A job with a result."""
    job = running(job_id, place)
    return advance(job, result_of(job.request, Path(f"/{job_id}.wav")), now=0.0)


def test_jobs_come_back_as_they_were(tmp_path: Path) -> None:
    """Everything about a job but its clock survives, by order of arrival."""
    jobs = [finished("a", 1), replace(running("b", 2), cancelling=True), waiting("c", 3)]
    with closing(Store(tmp_path)) as store:
        for job in reversed(jobs):
            store.save(job)
    with closing(Store(tmp_path)) as store:
        assert store.load(history=10) == jobs


def test_saving_again_replaces(store: Store) -> None:
    """One row a job: the newest."""
    store.save(waiting("a", 1))
    store.save(finished("a", 1))
    assert store.load(history=10) == [finished("a", 1)]


def test_history_is_bounded_in_memory_only(store: Store) -> None:
    """`load` gives the newest finished and all unfinished jobs; `find` gives every one."""
    store.save(waiting("w", 1))
    for place in range(2, 6):
        store.save(finished(f"j{place}", place))
    assert [job.id for job in store.load(history=2)] == ["w", "j4", "j5"]
    assert store.find("j2") == finished("j2", 2)
    assert store.find("nobody") is None


def test_find_ignores_case(store: Store) -> None:
    """Ids that differ by case would be one file on some systems."""
    store.save(waiting("Take", 1))
    assert store.find("tAKE") == waiting("Take", 1)


def test_commits_are_durable(store: Store) -> None:
    """WAL, synced at each commit: a power cut takes nothing that was acknowledged."""
    (mode,) = store._database.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = store._database.execute("PRAGMA synchronous").fetchone()
    assert (mode, synchronous) == ("wal", 2)


def test_folder_has_one_server(tmp_path: Path) -> None:
    """The second is refused with the pid of the first; later the folder is free again."""
    with closing(Store(tmp_path)), pytest.raises(SegueError, match=f"pid {os.getpid()}") as caught:
        Store(tmp_path)
    assert caught.value.code == Code.DISK
    Store(tmp_path).close()


def test_newer_schema_is_refused_untouched(tmp_path: Path) -> None:
    """A downgrade must not write into what it does not understand."""
    path = tmp_path / DATABASE
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(SegueError, match="newer segue") as caught:
        Store(tmp_path)
    assert caught.value.code == Code.UNSUPPORTED
    assert path.read_bytes() == before


def garbage(path: Path) -> None:
    """A file that is no database at all."""
    path.write_bytes(b"not a database, but long enough to look like one " * 100)


def torn_page(path: Path) -> None:
    """A database whose table has lost a page's content."""
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


@pytest.mark.parametrize("damage", [garbage, torn_page])
def test_damaged_database_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    """Nothing is deleted, however often it happens, and the server starts anew with a warning."""
    assert callable(damage)
    for number in (1, 2):
        with closing(Store(tmp_path)) as store:
            store.save(waiting("a", 1))
        damage(tmp_path / DATABASE)
        damaged = (tmp_path / DATABASE).read_bytes()
        with closing(Store(tmp_path)) as store:
            assert store.load(history=10) == []
        assert (tmp_path / f"{DATABASE}.damaged-{number}").read_bytes() == damaged
        assert "is damaged" in caplog.text


def test_unreadable_row_is_passed_over(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """One bad row is a warning, and the others are there."""
    store.save(waiting("a", 1))
    store.save(waiting("b", 2))
    store._database.execute("UPDATE jobs SET request = '{}' WHERE id = 'a'")
    assert store.load(history=10) == [waiting("b", 2)]
    assert "job a" in caplog.text


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A disk that does not do its part is a sentence with the folder's name."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SegueError, match="file") as caught:
        Store(tmp_path / "file" / "data")
    assert caught.value.code == Code.DISK


def test_restart_puts_the_interrupted_back_in_order(store: Store) -> None:
    """Running and waiting jobs wait again as they arrived; one that crashed us twice failed."""
    for job in (finished("a", 1), running("b", 2, attempts=2), running("c", 3), waiting("d", 4)):
        store.save(job)
    desk = Desk(store, Transcript(), queue_limit=1, now=0.0)
    failed = desk.status("b")
    assert isinstance(failed.event, Failure)
    assert failed.event.code == Code.INTERRUPTED
    assert "2 times" in failed.event.text
    assert store.find("b") == desk._jobs.get("b")
    assert desk.status("a") == finished("a", 1).status()
    order = []
    while (begun := desk.next(now=1.0)) is not None:
        order.append((begun.id, begun.attempts))
        desk.report(Cancelled(id=begun.id), now=2.0)
    assert order == [("c", 2), ("d", 1)]


def test_attempt_is_on_disk_before_it_begins(store: Store) -> None:
    """A kill at any moment of a run finds the run counted."""
    desk = Desk(store, Transcript(), queue_limit=1, now=0.0)
    desk.submit(make_request(), now=0.0)
    assert desk.next(now=1.0) is not None
    kept = store.find("a")
    assert kept is not None
    assert (kept.state, kept.attempts) == (State.OPTIMIZING, 1)


def test_each_move_of_a_job_is_on_disk(store: Store) -> None:
    """Who has heard of a result finds it after a kill."""
    desk = Desk(store, Transcript(), queue_limit=1, now=0.0)
    desk.submit(make_request(), now=0.0)
    job = desk.next(now=1.0)
    assert job is not None
    result = result_of(job.request, Path("/a.wav"))
    for event in (Progress(id="a", fraction=0.9, stage=State.DECODING), result):
        desk.report(event, now=2.0)
        kept = store.find("a")
        assert kept is not None
        assert kept.event == event


def test_accepted_cancel_survives_a_kill(store: Store) -> None:
    """A running job that was told to stop is not run again."""
    desk = Desk(store, Transcript(), queue_limit=1, now=0.0)
    desk.submit(make_request(), now=0.0)
    desk.next(now=1.0)
    desk.cancel("a", now=2.0)
    restarted = Desk(store, Transcript(), queue_limit=1, now=3.0)
    assert restarted.status("a").event == Cancelled(id="a")


def test_drawn_seed_survives(store: Store) -> None:
    """A request without a seed gets one for good, so that a re-run is the same job."""
    status, new = Desk(store, Transcript(), queue_limit=1, now=0.0).submit(make_request(), now=0.0)
    assert new
    assert status.request.seed is not None
    restarted = Desk(store, Transcript(), queue_limit=1, now=1.0)
    assert restarted.submit(make_request(), now=1.0) == (status, False)


def test_old_jobs_are_known_beyond_memory(store: Store) -> None:
    """A job that memory has dropped still answers, by status, repeat, cancel and clash."""
    desk = Desk(store, Transcript(), queue_limit=1, now=0.0)
    old = finished("old", 1)
    store.save(old)
    assert desk.status("old") == old.status()
    assert desk.cancel("old", now=1.0) == old.status()
    assert desk.submit(old.request, now=1.0) == (old.status(), False)
    for other in (make_request("old", seed=9), make_request("OLD", seed=1)):
        with pytest.raises(SegueError) as caught:
            desk.submit(other, now=1.0)
        assert caught.value.code == Code.ID_TAKEN


def test_result_of_a_lost_database_is_not_overwritten(store: Store) -> None:
    """A clip whose job is not known any more keeps its name."""
    store.result_path("a").write_bytes(b"earlier music")
    desk = Desk(store, Transcript(), queue_limit=1, now=0.0)
    with pytest.raises(SegueError, match="overwritten") as caught:
        desk.submit(make_request(), now=0.0)
    assert caught.value.code == Code.ID_TAKEN


def test_what_cannot_be_kept_is_not_accepted(tmp_path: Path) -> None:
    """A full or lost disk refuses the request and leaves no trace of it in memory."""
    store = Store(tmp_path)
    desk = Desk(store, Transcript(), queue_limit=1, now=0.0)
    store._database.execute("PRAGMA query_only = ON")
    with closing(store):
        with pytest.raises(SegueError) as caught:
            desk.submit(make_request(), now=0.0)
        assert caught.value.code == Code.DISK
        assert desk.statuses() == []


def test_full_disk_does_not_stop_the_worker(tmp_path: Path) -> None:
    """What happens to a running job is passed on even when it cannot be kept."""
    store, hub = Store(tmp_path), Transcript()
    desk = Desk(store, hub, queue_limit=1, now=0.0)
    desk.submit(make_request(), now=0.0)
    store._database.execute("PRAGMA query_only = ON")
    with closing(store):
        job = desk.next(now=1.0)
        assert job is not None
        event: Event = result_of(job.request, Path("/a.wav"))
        desk.report(event, now=2.0)
        assert desk.status("a").event == event
        assert hub.events[-1] == event


def test_a_preview_that_stays_is_no_hindrance(tmp_path: Path) -> None:
    """One that a player holds on to (here a folder) does not keep the server from starting."""
    (tmp_path / "results" / "a~preview.wav").mkdir(parents=True)
    with closing(Store(tmp_path)) as store:
        assert store.load(history=10) == []


def test_a_discarded_job_leaves_no_file(tmp_path: Path) -> None:
    """Its clip, its further clips and overlays go; those of a job with a longer id stay."""
    with closing(Store(tmp_path)) as store:
        names = ["a.wav", "a~2.wav", "a~overlay.wav", "a~2~overlay.wav", "a-2.wav", "ab~2.wav"]
        for name in names:
            (store.results / name).write_bytes(b"music")
        store.discard("a")
        assert sorted(path.name for path in store.results.iterdir()) == ["a-2.wav", "ab~2.wav"]
