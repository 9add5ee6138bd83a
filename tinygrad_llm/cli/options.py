"""Options that several commands have."""

import click

part_option = click.option(
    "--part",
    "parts",
    multiple=True,
    metavar="NAME=FILE:OBJECT",
    help="Put your own part in, such as softmax=mine.py:softmax; repeatable.",
)
