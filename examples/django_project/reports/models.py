"""The reports, and the fence that keeps the writes of an old leader out of the database."""

from __future__ import annotations

from django.db import models

from leadership_core import Fenced, Term


class Fence(models.Model):
    """The largest fencing token that has written, for each election."""

    key = models.CharField(primary_key=True, max_length=512)
    token = models.BigIntegerField(default=0)

    @classmethod
    def admit(cls, term: Term) -> None:
        """Lock out all earlier terms; call it first in the transaction that writes.

        The row stays locked until the transaction ends, so no later term can write before that.

        Raises:
            Fenced: a later term has written.
        """
        cls.objects.get_or_create(key=term.key)
        admitted = cls.objects.filter(key=term.key, token__lte=term.token)
        if not admitted.update(token=term.token):
            raise Fenced(f"{term.key}: a later term than {term.token} has written")


class Report(models.Model):
    """What the leader writes."""

    text = models.TextField()
    token = models.BigIntegerField()
