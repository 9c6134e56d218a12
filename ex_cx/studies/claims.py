"""Who may work in a study's folder: locks on files, which the system frees however a holder ends.

A runner of a whole study holds `.running` alone. Shards hold it together, and each a file of its
own: they do not keep each other out, two of the same number do, and so does a runner of the whole
study. Shards of another count would share runs with these and are kept out too. Such locks hold
between machines where the shared file system has them (NFS, Lustre with `flock`); where there are
none (Windows, some mounts), nobody is kept out.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ex_cx.errors import RunError, StudyError

__all__ = ["Claim", "Shard", "can_lock", "claimed", "is_held", "parse_shard", "publishing_in"]

RUNNING, PUBLISHING = ".running", ".publishing"
SHORTLY = 1.0
"""Seconds for which a lock is asked for again: one who only looks holds it for a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Every `count`-th run of a study, beginning with the `number`-th.

    >>> [Shard(number=i, count=2).holds(at) for i in (1, 2) for at in (0, 1, 2)]
    [True, False, True, False, True, False]
    """

    number: int
    count: int

    def holds(self, position: int) -> bool:
        """Is the run at this position, counted from 0, one of the shard's?"""
        return position % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_shard(text: str) -> Shard | None:
    """`2/4` as the second of four shards; None for empty text.

    Raises
    ------
    StudyError : anything else, or a number outside the count.

    Examples
    --------
    >>> parse_shard("2/4")
    Shard(number=2, count=4)
    """
    if not text:
        return None
    number, _, count = text.partition("/")
    if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
        return Shard(number=int(number), count=int(count))
    raise StudyError(
        f"--shard {text!r} is no part of a study. Give i/n, the i-th of n parts counted from 1, "
        "such as 1/4; an array job that counts from 0 adds 1."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A folder that is one's own, or one's shard's.

    `lock` is the file whose lock tells others that its holder lives; None where there are no locks.
    """

    shard: Shard | None
    lock: Path | None


@contextlib.contextmanager
def claimed(folder: Path, shard: Shard | None = None) -> Iterator[Claim]:
    """Keep every other runner of the same runs out of `folder`.

    Raises
    ------
    RunError : one is at work there.
    """
    with contextlib.ExitStack() as stack:
        if shard is None:
            lock = stack.enter_context(_holding(folder / RUNNING, told=_busy(folder)))
            for left in folder.glob(f"{RUNNING}-*-of-*") if lock else ():
                left.unlink(missing_ok=True)  # of a shard that was killed: none is at work now
            yield Claim(shard=None, lock=lock)
            return
        told = (
            f"Another ex-cx is at work on the whole study in {folder}, so that shard {shard} "
            "cannot be. Wait until it has ended, or name another folder by --out."
        )
        stack.enter_context(_holding(folder / RUNNING, told=told, together=True))
        told = f"Another ex-cx is at work on shard {shard} in {folder}. Wait until it has ended."
        own = folder / f"{RUNNING}-{shard.number}-of-{shard.count}"
        lock = stack.enter_context(_holding(own, told=told))
        _refuse_other_counts(folder, shard)
        yield Claim(shard=shard, lock=lock)


def _busy(folder: Path) -> str:
    return (
        f"Another ex-cx is at work in {folder}. Wait until it has ended, or name "
        "another folder by --out."
    )


@contextlib.contextmanager
def publishing_in(folder: Path) -> Iterator[None]:
    """Wait until nobody else writes what all runs share (index, results), then keep others off."""
    with _holding(folder / PUBLISHING, told="", wait=True):
        yield


def can_lock(folder: Path) -> bool:
    """Are locks on files held in this folder?

    Raises
    ------
    OSError : nothing can be written there.
    """
    path = folder / f"{RUNNING}-{os.getpid()}-looks"
    with _holding(path, told="") as held:
        found = held is not None and is_held(held)
    path.unlink(missing_ok=True)
    return found


def is_held(lock: Path) -> bool:
    """Does somebody hold the lock, here or on another machine? Unknown counts as yes."""
    try:
        import fcntl

        file = os.open(lock, os.O_RDONLY)
    except ImportError:
        return True
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _refuse_other_counts(folder: Path, shard: Shard) -> None:
    for path in sorted(folder.glob(f"{RUNNING}-*-of-*")):
        count = path.name.rpartition("-")[2]
        if count == str(shard.count):
            continue
        if is_held(path):
            raise RunError(
                f"Shards of {count} are at work in {folder}; those of {shard.count} would make "
                "the same runs again. Wait until they have ended, or divide alike."
            )


@contextlib.contextmanager
def _holding(
    path: Path, *, told: str, together: bool = False, wait: bool = False
) -> Iterator[Path | None]:
    """Hold the lock on `path`, alone or together with others; yields None without locks."""
    file = _lock(path, told, together=together, wait=wait)
    try:
        yield None if file is None else path
    finally:
        if file is not None:
            if not together or _is_last(file):
                path.unlink(missing_ok=True)
            os.close(file)


def _is_last(file: int) -> bool:
    """Does nobody else hold this lock any more? It is given up afterwards, so may be lost here."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lock(path: Path, told: str, *, together: bool, wait: bool) -> int | None:
    """The locked file at `path`; None where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    kind = fcntl.LOCK_SH if together else fcntl.LOCK_EX
    patience = time.monotonic() + SHORTLY
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(file).st_ino:
                return file
        except FileNotFoundError:  # its holder has just ended
            pass
        except BlockingIOError:
            if time.monotonic() > patience:
                os.close(file)
                raise RunError(told) from None
            time.sleep(0.05)
        except OSError:  # a file system without locks
            os.close(file)
            return None
        os.close(file)
