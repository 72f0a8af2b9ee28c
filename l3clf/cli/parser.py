"""The parser of the command line: argparse with suggestions, and messages that cannot control the terminal.

Rule: a word that is unknown is answered with the known one that is closest to it.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from l3clf.cli.printing import printable
from l3clf.errors import did_you_mean

__all__ = ["Parser"]


class Parser(argparse.ArgumentParser):
    """A parser that suggests the closest command, option or choice."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = ", ".join(map(str, action.choices))
            known = [str(choice) for choice in action.choices]
            text = f"invalid choice: {value!r}{did_you_mean(value, known)}; choose from {choices}"
            raise argparse.ArgumentError(action, text)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, and remember the words for `error`."""
        self._words = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def parse_everything(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Parse the arguments; an option that the command does not have is an error with a suggestion."""
        args: argparse.Namespace
        args, unknown = self.parse_known_args(argv)
        parser = getattr(args, "parser", self)
        if unknown:
            options = [word.partition("=")[0] for word in unknown if word.startswith("-")]
            hints = [hint for word in options if (hint := self._hint(word, parser))]
            words = printable(" ".join(unknown), keep="")
            parser.error(f"unrecognized arguments: {words}{hints[0] if hints else ''}")
        return args

    def _hint(self, word: str, parser: argparse.ArgumentParser) -> str:
        """Return what is known about an option that a command does not have, or an empty string."""
        groups = [action.choices for action in self._actions if isinstance(action.choices, dict)]
        others = [name for group in groups for name, each in group.items() if word in each._option_string_actions]
        if others:
            return f" (an option of {', '.join(others)})"
        return _closest(word, parser._option_string_actions)

    def _unknown(self) -> list[str]:
        """Return the options among the words that the command does not have."""
        words = self._words[: self._words.index("--")] if "--" in self._words else self._words
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        known = tuple(self._option_string_actions)
        return [word for word in options if not any(name.startswith(word) for name in known)]

    def error(self, message: str) -> NoReturn:
        """Print the usage and a sentence, and exit with 2."""
        if message.startswith("the following arguments are required") and (unknown := self._unknown()):
            # A misspelt option is the likelier mistake.
            word = printable(unknown[0], keep="")
            message = f"unrecognized arguments: {word}{_closest(unknown[0], self._option_string_actions)}; {message}"
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {message}\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        if not message:
            return
        (file or sys.stderr).write(printable(message))  # argparse's own drops what cannot be written
        (file or sys.stderr).flush()


def _closest(word: str, options: Iterable[str]) -> str:
    """Return a hint at the closest option; the dashes, which all have in common, do not count."""
    return did_you_mean(word.lstrip("-"), [name.lstrip("-") for name in options]).replace("mean ", "mean --")
