"""Attacks on the real server, and what they found: kills, damage, full disks, load. ``make reliability`` runs them all.

``python -m fewsam.cli.attack PART --out FOLDER``; each part leaves ``PART.json`` there and renews ``report.md``.
"""
