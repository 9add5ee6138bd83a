"""What a block of queries needs: heads copied as _tiles.py wants them, scores, what is hidden."""

from .._scalar import LOWEST, ZERO, helper
from .._tiles import FIRST, PANEL, ROWS, UNIT, product


@helper()
def pack_rows(to, width, source, start, step, first, count, padded, columns, scale):  # type: ignore[no-untyped-def]
    """Rows first..first+count-1 of a head, scaled, as `padded` rows of `width` columns."""
    for i in range(padded):
        row = to[i * width : (i + 1) * width]
        if i < count:
            at = start + (first + i) * step
            given = source[at : at + columns]
            for j in range(columns):
                row[j] = given[j] * scale
            row[columns:] = ZERO  # not needed, but what lies there may be denormal, hence slow
        else:
            row[:] = ZERO


@helper()
def pack_panels(to, source, start, step, count, columns):  # type: ignore[no-untyped-def]
    """The transpose, (columns, count), in panels of PANEL rows of the source: a product walks
    through a panel from one cache line to the next."""
    panels = (count + PANEL - 1) // PANEL
    for p in range(panels):
        panel = to[p * columns * PANEL : (p + 1) * columns * PANEL]
        for i in range(PANEL):
            row = p * PANEL + i
            if row < count:
                at = start + row * step
                given = source[at : at + columns]
                for j in range(columns):
                    panel[j * PANEL + i] = given[j]
            else:
                for j in range(columns):
                    panel[j * PANEL + i] = ZERO


@helper()
def unpack_rows(to, start, step, first, count, source, width, columns, scale):  # type: ignore[no-untyped-def]
    """The way back: rows of `width` columns to rows first..first+count-1 of a head, scaled."""
    for i in range(count):
        at = start + (first + i) * step
        row, given = to[at : at + columns], source[i * width : i * width + columns]
        for j in range(columns):
            row[j] = given[j] * scale


@helper()
def round_up(n, multiple):  # type: ignore[no-untyped-def]
    return (n + multiple - 1) // multiple * multiple


@helper()
def visible(query, keys, causal, offset):  # type: ignore[no-untyped-def]
    """How many keys a query may see."""
    if not causal:
        return keys
    seen = query + offset + 1
    seen = keys if seen > keys else seen
    return FIRST if seen < 0 else seen


@helper()
def scores(s, ld, rows, step, panels, width, first, count, keys, causal, offset):  # type: ignore[no-untyped-def]
    """s = rows panels for `count` queries from `first`: only the tiles that somebody sees."""
    seen = visible(first + count - 1, keys, causal, offset)
    for j in range(0, seen, PANEL):
        for i in range(0, count, ROWS):
            if j < visible(first + i + ROWS - 1, keys, causal, offset):
                product(s, i * ld + j, ld, rows, i * step, step, UNIT, panels, j * width, PANEL, PANEL, width)  # fmt: skip  # noqa: E501


@helper(fastmath={"contract"})
def hide(row, limit, mask, at, masked):  # type: ignore[no-untyped-def]
    """Scores that may not be seen become -inf; a mask of numbers is added to the others."""
    if masked:
        given = mask[at : at + limit]
        for j in range(limit):
            row[j] = LOWEST if given[j] == LOWEST else row[j] + given[j]
    row[limit:] = LOWEST
