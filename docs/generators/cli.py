"""The page of the command line: the output of `-h`, for every command."""

from __future__ import annotations

from collections.abc import Iterator

import click

from xpay_flow.cli.root import xpay_flow

INTRODUCTION = """\
The command is there with `pip install 'xpay-flow[cli]'`; `xpay-flow demo` needs the extra \
`demo`.
Errors are one line on standard error and exit code 1; wrong usage is exit code 2.
`XPAY_STORE` is the default of `--store`, and of `Flow.open()` without a URL.
"""
COLUMNS = 90


def cli_page() -> str:
    parts = [f"# Command line\n\n{INTRODUCTION}"]
    parts.extend(
        f"## {name}\n\n```text\n{text}\n```\n" for name, text in _helps(xpay_flow, "xpay-flow")
    )
    return "\n".join(parts)


def _helps(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    context = click.Context(
        command,
        info_name=name,
        parent=parent,
        terminal_width=COLUMNS,
        max_content_width=COLUMNS,
        **command.context_settings,
    )
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            if found is not None and not found.hidden:
                yield from _helps(found, sub, context)
