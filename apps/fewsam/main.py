"""What ``monailabel start_server --app`` loads here: imports only, everything lives in ``fewsam.server``."""

import fewsam.core._torchvision  # noqa: F401  (first: lets torchvision import beside a CPU-only torch)
from fewsam.server.app import FewSAMApp  # noqa: F401
