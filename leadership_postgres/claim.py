"""SQL by which a transaction of another program depends on the row of a claim.

An election's claim is the entry at ``KEY/.claim``, and its revision is the fencing token of the term: see
`leadership_core.backend.ObservedElection`. A transaction that locks this row for sharing commits before any
other candidate can take the claim over.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

from leadership_core.backend import ConfigurationError, Fence

from .schema import DEFAULT_SCHEMA, quoted

__all__ = ["fence_sql"]

ParameterStyle = Literal["format", "named", "numeric"]

_PLACES = {"format": ("%s", "%s"), "named": (":key", ":token"), "numeric": ("$1", "$2")}
_HIGHEST = 2**63 - 1


class _HasFence(Protocol):
    @property
    def fence(self) -> Fence: ...


def fence_sql(
    term: _HasFence | Fence,
    *,
    schema: str = DEFAULT_SCHEMA,
    prefix: str = "",
    style: ParameterStyle = "format",
) -> tuple[str, Any]:
    """Return a statement that makes a transaction fail when the term is over, with its parameters.

    Execute it in the transaction, before or after its writes. It locks the row of the claim
    (``SELECT ... FOR SHARE``), so as long as the transaction is open, no other candidate becomes leader: keep it
    short, and set `idle_in_transaction_session_timeout`. If the term is over, the statement fails with SQLSTATE
    `LD001`, and nothing of the transaction can be committed. Sends nothing; thread-safe.

    Args:
        term: a `Term` or its `Fence`.
        schema: as the option `schema` of the store's URL has it.
        prefix: as the option `prefix` of the store's URL has it.
        style: of the parameter placeholders: `format` for psycopg and Django (``%s``), `named` for SQLAlchemy's
            `text` (``:key``), `numeric` for asyncpg (``$1``).

    Returns:
        The statement, and a tuple of the parameters, or a dict with the style `named`.

    Raises:
        ConfigurationError: an argument is wrong.

    Example:
        >>> fence_sql(Fence("jobs/reports", 42))
        ('SELECT "leadership".fence(%s, %s)', ('jobs/reports', 42))
        >>> fence_sql(Fence("jobs/reports", 42), style="named")
        ('SELECT "leadership".fence(:key, :token)', {'key': 'jobs/reports', 'token': 42})
    """
    fence = term if isinstance(term, Fence) else getattr(term, "fence", None)
    if not isinstance(fence, Fence):
        raise ConfigurationError(
            f"fence_sql needs a term or its fence, not {type(term).__name__}: pass term.fence"
        )
    if style not in _PLACES:
        raise ConfigurationError(f"the style {style!r:.20} is not one of {', '.join(_PLACES)}")
    if not 0 <= fence.token <= _HIGHEST:
        raise ConfigurationError(
            f"the token {fence.token} is not from 0 to {_HIGHEST}, as those of PostgreSQL are"
        )
    name = quoted(schema)
    if style == "format":
        name = name.replace("%", "%%")
    elif style == "named":
        name = name.replace(":", "\\:")
    key = "/".join(part for part in (prefix.strip("/"), fence.key) if part)
    places = ", ".join(_PLACES[style])
    sql = f"SELECT {name}.fence({places})"
    if style == "named":
        return sql, {"key": key, "token": fence.token}
    return sql, (key, fence.token)
