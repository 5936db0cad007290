"""Compare the options of a submission with those that a task shows: a service shows some, all or none of them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._models import Task

_TASK_OPTIONS = ("model", "input_language", "output_language")


def shows_options(sent: Mapping[str, Any], task: Task) -> bool:
    """Return whether a task shows just the options that were sent."""
    return all(same_value(sent.get(name), getattr(task, name)) for name in _TASK_OPTIONS)


def shows_enough(sent: Mapping[str, Any], task: Task) -> bool:
    """Return whether a task shows each option that was sent, and no translation that was not asked for."""
    is_hidden = any(value is not None and shown_option(task, name) is None for name, value in sent.items())
    return not is_hidden and (sent.get("output_language") is not None or task.output_language is None)


def options_agree(sent: Mapping[str, Any], task: Task) -> bool:
    """Return whether no option that was sent is shown with another value."""
    shown = ((value, shown_option(task, name)) for name, value in sent.items())
    return all(one is None or other is None or same_value(one, other) for one, other in shown)


def hides_options(sent: Mapping[str, Any], task: Task) -> bool:
    """Return whether a task does not show an option that was sent."""
    return any(sent.get(name) is not None and getattr(task, name) is None for name in _TASK_OPTIONS)


def shown_option(task: Task, name: str) -> object:
    """Return the value of an option that a task shows, or None."""
    return getattr(task, name) if name in _TASK_OPTIONS else task.extra.get(name)


def shown_options(tasks: Iterable[Task]) -> set[str]:
    """Return the names of the options that the service shows of some task."""
    return {name for task in tasks for name in (*_TASK_OPTIONS, *task.extra) if shown_option(task, name) is not None}


def same_value(sent: object, shown: object) -> bool:
    """Return whether two values of an option are the same; None stands for an option that is not there."""
    scalars = (str, int, float)
    if sent is None or shown is None:
        return sent is shown
    if not isinstance(sent, scalars) or not isinstance(shown, scalars):
        return True  # what is nested may be shown in many ways
    return str(sent).strip().casefold() == str(shown).strip().casefold()


def contested_options(sent: Iterable[tuple[object, Mapping[str, Any]]]) -> Mapping[object, set[str]]:
    """Return by media the options that were sent with more than one value for what may be the same media.

    Args:
        sent: media and options of each submission. Media may be its size alone: of one submission the digest may be
            known, of another of the same media only the hash.
    """
    first: dict[object, Mapping[str, Any]] = {}
    contested: dict[object, set[str]] = {}
    for media, options in sent:
        other = first.setdefault(media, options)
        names = contested.setdefault(media, set())
        if other is not options:
            names |= {name for name in {*other, *options} if other.get(name) != options.get(name)}
    return contested
