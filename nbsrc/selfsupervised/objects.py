"""Which object of an event each of its columns belongs to."""

from collections.abc import Sequence


def objects_of(names: Sequence[str]) -> list[str]:
    """The object that each column belongs to: its name up to the first dot; the fields of the event
    itself are one, "".

    Where most columns are fields of the event itself, events are flat, and each field is an object
    of its own.

    >>> objects_of(["actor.user.name", "actor.user.uid", "count", "count.present", "time.hour_sin"])
    ['actor', 'actor', '', '', 'time']
    >>> objects_of(["ip", "path", "bytes", "bytes.present"])
    ['ip', 'path', 'bytes', 'bytes']
    """
    whole = [base if (base := name.removesuffix(".present")) in names else name for name in names]
    flat = 2 * sum("." not in name for name in whole) > len(whole)
    return [name.partition(".")[0] if flat or "." in name else "" for name in whole]
