"""The roles that a route may ask for, as FastAPI's dependencies; with authentication off everybody has all of them."""

from __future__ import annotations

from fastapi import Depends
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC

USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
ANNOTATOR = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))
REVIEWER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_REVIEWER))
ADMIN = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))
