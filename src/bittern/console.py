"""Console: how the commands talk. Results go to stdout; progress and errors to stderr."""

from __future__ import annotations

import json
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Commands", "Tell", "fail", "progress", "show", "show_json", "table"]

VERBOSE = "bittern.verbose"
WIDTH = 140
"""Columns of tables that no terminal limits."""


class Commands(click.Group):
    """Commands whose errors are one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _terminate)
        try:
            return super().invoke(ctx)
        except (click.exceptions.NoArgsIsHelpError, BrokenPipeError):
            raise
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else ctx.command_path
            fail(f"{error.format_message()} See: {where} --help")
        except KeyboardInterrupt:
            fail("interrupted", code=130)
        except (ValueError, OSError) as error:
            if ctx.meta.get(VERBOSE):
                traceback.print_exc()
            fail(str(error) or type(error).__name__)


def _terminate(_number: int, _frame: object) -> NoReturn:
    sys.exit(143) # an exception: temporary folders go


def fail(message: str, code: int = 2) -> NoReturn:
    """End with a message on stderr."""
    click.echo(f"bittern: {message}", err=True)
    raise click.exceptions.Exit(code)


class Tell(Protocol):
    """Takes reports of progress."""

    def __call__(self, step: str, part: float | None = None, /) -> None:
        """Tell what is being done, and which part of it is over (0 to 1), if that is known."""


@contextmanager
def progress() -> Iterator[Tell]:
    """Show progress: a bar on a terminal, else a line for each step."""
    console = Console(stderr=True)
    if not console.is_terminal:
        told = ""

        def tell(step: str, _part: float | None = None, /) -> None:
            nonlocal told
            if step != told:
                click.echo(f"{step} …", err=True)
                told = step

        yield tell
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False),
               BarColumn(bar_width=30), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, visible=False)

        def update(step: str, part: float | None = None, /) -> None:
            bar.update(task, description=step, visible=True, completed=part or 0,
                       total=1 if part else None)
            bar.refresh()

        yield update


def show_json(result: Any) -> None:
    """Print a result for machines."""
    click.echo(json.dumps(result, indent=1))


def show(*parts: Table | str) -> None:
    """Print results for people."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    for part in parts:
        if isinstance(part, str):
            click.echo(part)
        else:
            console.print(part)


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]],
          total: Sequence[object] | None = None) -> Table:
    """Return a table; numbers stand on the right."""
    rows = list(rows)
    made = Table(title=title or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD,
                 show_footer=total is not None, pad_edge=False)
    for k, name in enumerate(head):
        numeric = bool(rows) and all(isinstance(row[k], int | float) for row in rows)
        made.add_column(name, justify="right" if numeric else "left", overflow="fold",
                        footer=_text(total[k]) if total else "")
    for row in rows:
        made.add_row(*map(_text, row))
    return made


def _text(value: object) -> Text:
    match value:
        case int():
            return Text(f"{value:,}")
        case float():
            return Text(f"{value:,.2f}")
        case _:
            return Text(str(value))
