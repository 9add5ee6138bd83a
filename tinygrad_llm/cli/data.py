"""`tllm data`: the data sets that are known by name."""

import textwrap

import click


@click.group("data")
def command() -> None:
    """List the data sets that are known by name; get one."""


@command.command("list")
def list_() -> None:
    """The data sets, and whether each is here already.

    embedded: on every machine. local: in the folder that TINYGRAD_LLM_DATA names. cached:
    downloaded before. Any text file or folder of yours serves as well, by its path.
    """
    from tinygrad_llm.data import corpora

    for data_set in corpora.available():
        size = "" if data_set.size is None else _readable(data_set.size)
        click.echo(f"{data_set.name:20}{data_set.kind:14}{data_set.state:14}{size:>9}")
        about = f"{data_set.description} ({data_set.licence})"
        click.echo(textwrap.indent(textwrap.fill(about, 76), " " * 4))


@command.command("get")
@click.argument("name")
def get(name: str) -> None:
    """Fetch the data set NAME, check it, and print where its files are."""
    from tinygrad_llm.data import corpora

    for path in corpora.get_files(name, progress=True).values():
        click.echo(path)


def _readable(size: int) -> str:
    """A number of bytes as people say it: 1115394 -> "1.1 MB"."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.{0 if unit == 'B' else 1}f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
