"""What a pickle would build, found out without building it.

A pickle is a small program: it names classes and functions, and an ordinary unpickler imports and calls them. The
machine here keeps the stack and the memo of such a program and nothing else. A name is looked up in a table
of stand-ins that the caller gives, each of which only writes down what it was given; any other name becomes
a `Foreign`, is listed, and calling it yields another `Foreign`. Nothing is imported, and no function from
outside that table is called.

It bounds itself, too: the number of opcodes (each can make one small object); what stand-ins are given in all,
since one long text in the memo, handed over a thousand times, would be copied as often; and dictionary keys,
which are plain values because hashing a deeply nested tuple exhausts the C stack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ssl_bench.weights.pickle_tokens import ACTIONS, PUSHED, Bytes, tokens
from ssl_bench.weights.pickle_values import Foreign, StandIn, filled, hashable
from ssl_bench.weights.refusals import Damaged, Refused

# A checkpoint with 10 000 tensors and as many optimiser states takes about a million.
MOST_OPCODES = 5_000_000
MOST_REPEATED = 4  # times the pickle's own size
LITTLE = 1 << 20
SIZED = (str, bytes, bytearray, memoryview, list, tuple, dict, set)


class PickleScan:
    """Follow the pickle at `start` of `data` to its end.

    Attributes:
        value: What it holds: plain Python values and what the stand-ins made.
        end: Position behind it.
        foreign: Names it uses that are not in `admitted`, in the order of the file.

    Raises:
        Damaged: It is cut short or makes no sense.
        Refused: It is without bounds, or names something in `unwanted`, whose sentence is the reason.
    """

    def __init__(
        self,
        data: Bytes,
        start: int = 0,
        *,
        admitted: Mapping[str, Any],
        persistent: Callable[[Any], Any] | None = None,
        unwanted: Mapping[str, str] | None = None,
    ) -> None:
        self._admitted = admitted
        self._persistent = persistent
        self._unwanted = unwanted or {}
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self.foreign: dict[str, None] = {}
        self.end = start
        self._given = 0
        self._most_given = MOST_REPEATED * len(data) + LITTLE
        actions = {opcode: getattr(self, f"_{name}") for opcode, (name, _) in ACTIONS.items()}
        try:
            for count, (opcode, argument, self.end) in enumerate(tokens(data, start)):
                if count > MOST_OPCODES:
                    raise Refused(
                        f"its pickle has more than {MOST_OPCODES:,} steps; no checkpoint needs that many."
                    )
                if opcode in PUSHED:
                    self._stack.append(argument)
                else:
                    actions[opcode](argument)
            self.value = self._stack.pop()
        except (IndexError, KeyError) as error:
            raise Damaged("its pickle takes what was never put there") from error

    def _nothing(self, _: Any) -> None:
        pass

    def _mark(self, _: Any) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _since_mark(self, _: Any = None) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _duplicate(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _tuple(self, _: Any) -> None:
        self._append(tuple(self._since_mark()))

    def _short_tuple(self, count: int) -> None:
        self._stack[-count] = tuple(self._stack[-count:])
        del self._stack[len(self._stack) - count + 1 :]

    def _append(self, value: Any) -> None:
        self._stack.append(value)

    def _list(self, _: Any) -> None:
        self._append(self._since_mark())

    def _dict(self, _: Any) -> None:
        self._append(filled({}, self._since_mark()))

    def _frozen_set(self, _: Any) -> None:
        self._append({hashable(item) for item in self._since_mark()})

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is list:
            target.extend(items)
        elif not isinstance(target, Foreign):
            self._senseless("adds items to", target)

    def _append_one(self, _: Any) -> None:
        self._extend([self._stack.pop()])

    def _append_all(self, _: Any) -> None:
        self._extend(self._since_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is dict:
            filled(target, items)
        elif not isinstance(target, Foreign):
            self._senseless("sets items of", target)

    def _set_one(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _set_all(self, _: Any) -> None:
        self._set_items(self._since_mark())

    def _add_to_set(self, _: Any) -> None:
        items, target = self._since_mark(), self._stack[-1]
        if type(target) is not set:
            self._senseless("adds to", target)
        target.update(hashable(item) for item in items)

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._append(self._memo[index])

    def _global(self, name: str) -> None:
        name = name.replace("__builtin__.", "builtins.", 1)  # as Python 2 spelt it
        if name in self._unwanted:
            raise Refused(self._unwanted[name])
        if name in self._admitted:
            self._append(self._admitted[name])
        else:
            self.foreign[name] = None
            self._append(Foreign(name))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise Damaged("its pickle names a class by something that is no text")
        self._global(f"{module}.{name}")

    def _call(self, function: Any, arguments: Any) -> None:
        if type(arguments) is not tuple:
            self._senseless("calls something with", arguments)
        if isinstance(function, Foreign):
            self._append(Foreign(function.name))
            return
        if not callable(function):  # only the caller's stand-ins are
            self._senseless("calls", function)
        self._count(arguments)
        try:
            self._append(function(*arguments))
        except TypeError as error:
            raise Damaged(
                f"its pickle gives {getattr(function, '__name__', 'a class')} the wrong arguments"
            ) from error

    def _count(self, arguments: tuple[Any, ...]) -> None:
        self._given += sum(len(argument) for argument in arguments if isinstance(argument, SIZED))
        if self._given > self._most_given:
            raise Refused(
                "uses the same data over and over, which no checkpoint does: it is made to exhaust memory."
            )

    def _reduce(self, _: Any) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._call(function, arguments)

    def _new_with_keywords(self, _: Any) -> None:
        keywords, arguments, function = self._stack.pop(), self._stack.pop(), self._stack.pop()
        if keywords and not isinstance(function, Foreign):
            self._senseless("calls with keywords", function)
        self._call(function, arguments)

    def _instance(self, name: str) -> None:
        arguments = tuple(self._since_mark())
        self._global(name)
        self._call(self._stack.pop(), arguments)

    def _object(self, _: Any) -> None:
        function, *arguments = self._since_mark()
        self._call(function, tuple(arguments))

    def _build(self, _: Any) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, StandIn):
            self._count(state if type(state) is tuple else (state,))
            target.__setstate__(state)
        elif not isinstance(
            target, (dict, Foreign)
        ):  # an OrderedDict's attributes (_metadata) move no weight
            self._senseless("sets attributes of", target)

    def _stored(self, identity: Any) -> None:
        if self._persistent is None:
            raise Refused(
                "refers to data outside of itself (persistent ids), which a plain pickle cannot hold."
            )
        self._append(self._persistent(identity))

    def _stored_on_stack(self, _: Any) -> None:
        self._stored(self._stack.pop())

    def _senseless(self, does: str, value: Any) -> NoReturn:
        raise Damaged(f"its pickle {does} a {type(value).__name__}")
