"""Program of a player: its settings are the first line of its input."""

from __future__ import annotations

import importlib
import json
import os
import sys

from .player import Player, Settings, print_event


def main() -> None:
    """Run the player that the settings name, until the input ends."""
    settings = Settings(**json.loads(sys.stdin.readline()))
    try:
        module = importlib.import_module(f"leadership_bench.players.{settings.contender}")
        player: Player = module.PLAYER(settings)
        player.run()
    except Exception as error:  # noqa: BLE001 - reported to the run, which drops the contender
        print_event("error", f"{type(error).__name__}: {error}".replace("\n", " ")[:300])
    finally:
        sys.stdout.flush()
        # Threads of a library that does not end them must not hold up the run.
        os._exit(0)


if __name__ == "__main__":
    main()
