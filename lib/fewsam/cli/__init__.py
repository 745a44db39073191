"""The command line: ``fewsam encode | train | segment | evaluate | export | import | info | phantom | app | ohif``.

One module a command. Commands import what they need when they run, so that ``--help`` answers at once.
"""

from fewsam.cli.app import main

__all__ = ["main"]
