"""What an answer of PostgreSQL says about the statement: refused, not applied, or unknown."""

from __future__ import annotations

import pytest

from leadership_core.backend import NotApplied, StoreRefused, StoreUnavailable
from leadership_postgres import client, errors
from leadership_postgres.errors import ServerError


@pytest.mark.parametrize(
    ("code", "severity"),
    [("57P01", "FATAL"), ("57P02", "FATAL"), ("08006", "ERROR"), ("58030", "ERROR"), ("XX000", "PANIC")],
)  # fmt: skip
def test_end_of_the_server_leaves_the_outcome_unknown(code: str, severity: str) -> None:
    """The commit may have been made before it."""
    error = errors.statement_error(ServerError(code, severity, "terminating connection"), "write")

    assert type(error) is StoreUnavailable


@pytest.mark.parametrize("code", ["40001", "55P03", "57014", "23505"])
def test_statement_that_was_rolled_back_is_not_applied(code: str) -> None:
    """It may be sent again."""
    error = errors.statement_error(ServerError(code, "ERROR", "was rolled back"), "write")

    assert isinstance(error, NotApplied)


@pytest.mark.parametrize("code", ["28P01", "3D000", "42501", "42601"])
def test_what_only_a_person_can_change_is_refused(code: str) -> None:
    """It is said at once."""
    error = errors.statement_error(ServerError(code, "ERROR", "no"), "write")

    assert isinstance(error, StoreRefused)


def test_read_of_a_standby_is_not_believed() -> None:
    """It may lag, whatever it has sent."""
    with pytest.raises(NotApplied, match="standby"):
        client.Client.parsed(
            object.__new__(client.Client), [(b"k", b"v", b"1", None, b"", b"true")]
        )


_PREFIX = 'connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("verbose", "usual"),
    [
        ("FATAL:  28P01: Passwort-Authentifizierung fehlgeschlagen\nLOCATION:  auth_failed, auth.c:321\n",
         "FATAL:  Passwort-Authentifizierung fehlgeschlagen (28P01)"),
        ("ВАЖНО:  3D000: база данных не существует\nDETAIL:  x\nLOCATION:  InitPostgres, postinit.c:1016\n",
         "ВАЖНО:  база данных не существует\nDETAIL:  x (3D000)"),
        ("Connection refused\n\tIs the server running on that host?\n",
         "Connection refused\n\tIs the server running on that host?\n"),
    ],
)  # fmt: skip
def test_verbose_text_of_libpq_is_the_usual_one_with_the_code(verbose: str, usual: str) -> None:
    """Neither the place in the server's source nor a text without a code is touched otherwise."""
    assert errors.with_code(_PREFIX + verbose) == _PREFIX + usual


@pytest.mark.parametrize(
    ("text", "lasting", "cure"),
    [
        ("FATAL:  Passwort-Authentifizierung fehlgeschlagen (28P01)", True, "check USER:PASSWORD@"),
        ("FATAL:  Datenbank »x« existiert nicht (3D000)", True, "create the database"),
        ("FATAL:  sorry, too many clients already (53300)", False, "max_connections"),
        ("FATAL:  Datenbanksystem startet (57P03)", False, "starting or stopping"),
        ("FATAL:  etwas anderes (XX000)", False, ""),
        ("FATAL:  ohne Code", False, ""),
    ],
)
def test_refused_connection_is_known_by_its_code_in_any_language(
    text: str, lasting: bool, cure: str
) -> None:
    """A server answers in the language of its `lc_messages`."""
    assert errors.is_lasting(_PREFIX + text) is lasting
    assert cure in errors.connect_error(_PREFIX + text)
