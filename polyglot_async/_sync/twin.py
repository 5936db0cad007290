"""Makes a sync method out of an async one: the same signature and docstring, and one call of the portal.

Type checkers read the signature off the async method, by `ParamSpec`; `help()` and `inspect` read it off what is set
here. A method that is made so is declared `Final`: without an annotation its type would count as unknown to users.
"""

from __future__ import annotations

import copy
import inspect
import re
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from .portal import Portal

S = TypeVar("S")
A = TypeVar("A")
B = TypeVar("B")
P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")
V = TypeVar("V", bound="Twin[Any]")
T_co = TypeVar("T_co", covariant=True)

_ASYNC_WORDS = re.compile(r"\basync (?=with|for)|\bawait |\bAsync(?=Polyglot|Transcriptions)")
_ASYNC_ITERATOR = re.compile(r"Async(?:Iterator|Generator)\[(.*?)(?:, None)?\]")


class Twin(Generic[A]):
    """An async object, and the portal to the event loop that it lives in."""

    _usage: ClassVar[str]
    """For the repr: what to do with it."""

    def __init__(self, wrapped: A, portal: Portal) -> None:
        self._async = wrapped
        self._portal = portal
        self._is_original = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, value in vars(cls).items():
            if inspect.isfunction(value):
                value.__name__, value.__qualname__, value.__module__ = name, f"{cls.__name__}.{name}", cls.__module__

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._usage}>"

    def _on_exit(self) -> None:
        """Called when the `with` that opened it ends."""


class Forwarded(property, Generic[T_co]):
    """An attribute of the async object, read through its twin; with `twin`, as a twin of its own.

    Type checkers can't read the type off a property, so it is written down, and a test compares it.
    """

    def __init__(self, owner: type[Any], name: str, twin: Callable[[Any, Portal], Any] | None = None) -> None:
        get = attrgetter(f"_async.{name}")
        read = get if twin is None else lambda self: twin(get(self), self._portal)
        super().__init__(read)
        self.__doc__ = getattr(getattr(owner, name, None), "__doc__", None)

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type[Any], /) -> Self: ...

        @overload
        def __get__(self, instance: object, owner: type[Any] | None = None, /) -> T_co: ...

        def __get__(self, instance: object, owner: type[Any] | None = None, /) -> Any: ...


def blocking(method: Callable[Concatenate[A, P], Awaitable[T]]) -> Callable[Concatenate[Twin[A], P], T]:
    """Return the twin of a coroutine function: it waits for the end."""

    def call(self: Twin[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._portal.call(method, self._async, *args, **kwargs)

    return _presented(call, method)


def in_loop(method: Callable[Concatenate[A, P], T]) -> Callable[Concatenate[Twin[A], P], T]:
    """Return the twin of a plain method that has to run in the loop's thread."""

    async def run(wrapped: A, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(wrapped, *args, **kwargs)

    return _presented(blocking(run), method)


def returning(
    twin: Callable[[B, Portal], T], method: Callable[Concatenate[A, P], B]
) -> Callable[Concatenate[Twin[A], P], T]:
    """Return the twin of a plain method that returns something with a twin."""

    def call(self: Twin[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return twin(method(self._async, *args, **kwargs), self._portal)

    return _presented(call, method, _name_of(twin))


def iterating(method: Callable[Concatenate[A, P], AsyncIterator[T]]) -> Callable[Concatenate[Twin[A], P], Iterator[T]]:
    """Return the twin of a method that returns an async iterator."""

    def call(self: Twin[A], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        own: Callable[P, AsyncIterator[T]] = getattr(self._async, method.__name__)  # a subclass may have another
        return self._portal.iterate(own(*args, **kwargs))

    return _presented(call, method)


def opening(
    twin: Callable[[B, Portal], V], method: Callable[Concatenate[A, P], AbstractAsyncContextManager[B]]
) -> Callable[Concatenate[Twin[A], P], AbstractContextManager[V]]:
    """Return the twin of a method that returns an async context manager of something with a twin."""

    @contextmanager
    def call(self: Twin[A], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[V]:
        with self._portal.context(method(self._async, *args, **kwargs)) as value:
            opened = twin(value, self._portal)
            try:
                yield opened
            finally:
                opened._on_exit()  # noqa: SLF001 - a hook of our own kind

    return _presented(call, method, f"AbstractContextManager[{_name_of(twin)}]")


def viewing(method: Callable[Concatenate[A, P], A]) -> Callable[Concatenate[V, P], V]:
    """Return the twin of a method that returns a copy with other options: a copy of the twin."""

    def call(self: V, /, *args: P.args, **kwargs: P.kwargs) -> V:
        view = copy.copy(self)
        view._async, view._is_original = method(self._async, *args, **kwargs), False  # noqa: SLF001 - of our own kind
        return view

    return _presented(call, method)


def parameters_of(
    method: Callable[Concatenate[Any, P], object],
) -> Callable[[Callable[Concatenate[S, ...], T]], Callable[Concatenate[S, P], T]]:
    """Return a decorator for what is written out: it has the parameters and the docstring of the async method."""

    def decorate(function: Callable[Concatenate[S, ...], T]) -> Callable[Concatenate[S, P], T]:
        return _presented(function, method)

    return decorate


def _presented(function: F, method: Callable[..., Any], returns: str | None = None) -> F:
    """Show a twin as the async method is shown, without the words `async` and `await`."""
    shown: Any = function
    # Not as `functools.wraps` does it: what looks below a wrapper before it asks whether to await would await this one.
    shown.__dict__.pop("__wrapped__", None)
    signature = inspect.signature(method)
    returns = returns or _ASYNC_ITERATOR.sub(r"Iterator[\1]", signature.return_annotation)
    shown.__signature__ = signature.replace(return_annotation=returns)
    shown.__annotations__ = {**method.__annotations__, "return": returns}
    shown.__doc__ = _ASYNC_WORDS.sub("", method.__doc__ or "") or None
    return function


def _name_of(twin: Any) -> str:
    return str(twin.__name__)
