"""The folder that MONAI Label calls an app: what it holds, and how it is made where there is no repository."""

from __future__ import annotations

from pathlib import Path

from fewsam.core.errors import StorageError

MAIN = '''"""What ``monailabel start_server --app`` loads here: imports only, everything lives in ``fewsam.server``."""

import fewsam.core._torchvision  # noqa: F401  (first: lets torchvision import beside a CPU-only torch)
from fewsam.server.app import FewSAMApp  # noqa: F401
'''
IN_REPOSITORY = Path("apps") / "fewsam"
ELSEWHERE = Path("fewsam-app")


def default_app_folder() -> Path:
    """``apps/fewsam`` where the current folder is the repository, else ``fewsam-app``."""
    return IN_REPOSITORY if (IN_REPOSITORY / "main.py").is_file() else ELSEWHERE


def make_app_folder(folder: Path) -> bool:
    """Write ``main.py`` into ``folder`` unless it is there. What else is in the folder, such as labels, stays.

    Returns:
        Whether it was written.

    Raises:
        StorageError: the folder cannot be made or written.
    """
    main = folder / "main.py"
    try:
        if main.is_file():
            return False
        folder.mkdir(parents=True, exist_ok=True)
        main.write_text(MAIN, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {main}: {error.strerror or error}; name another folder") from error
    return True
