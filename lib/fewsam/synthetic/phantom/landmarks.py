"""Where things are along the body: the profiles that wall, skeleton, vessels and organs agree on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fewsam.synthetic.phantom.shapes import Profile, rounded_box_norm
from fewsam.synthetic.phantom.traits import Traits

# Height of the centre of each vertebra, from S1 up to T5; 0 lies between L2 and L1.
LEVELS = (-163.0, -130.0, -95.0, -60.0, -26.0, 7.0, 38.0, 67.0, 94.0, 120.0, 145.0, 169.0, 192.0, 214.0)


@dataclass
class Landmarks:
    """Profiles along z (mm, body frame)."""

    half_width: Profile  # of the cavity
    front: Profile
    back: Profile
    spine_x: Profile
    spine_y: Profile  # centre of the vertebral bodies
    body_depth: Profile  # half the depth of a vertebral body
    body_width: Profile

    @classmethod
    def of(cls, traits: Traits) -> Landmarks:
        """The landmarks of one patient."""
        belly = traits.belly
        z = (-150.0, -100.0, -60.0, -20.0, 20.0, 60.0, 100.0, 150.0)
        belly_here = np.array([0.9, 1.0, 1.0, 0.9, 0.65, 0.3, 0.1, 0.0]) * belly
        curve = np.array([-33.0, -17.0, -14.0, -20.0, -29.0, -38.0, -46.0, -55.0])
        spine_y = -30.0 + (curve + 30.0) * traits.lordosis
        bow = traits.scoliosis * np.sin(np.linspace(-1.3, 2.4, len(z)))
        hips = np.array([1.0, 0.75, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0]) * traits.hips
        back = np.array([-56.0, -53.0, -55.0, -62.0, -78.0, -92.0, -98.0, -100.0])
        return cls(
            half_width=Profile(z, np.array([115, 114, 114, 117, 122, 126, 124, 115]) + 0.55 * belly_here + hips),
            front=Profile(z, np.array([76, 80, 83, 85, 86, 85, 81, 74]) + belly_here),
            back=Profile(z, back + 0.35 * (spine_y - curve)),
            spine_x=Profile(z, bow),
            spine_y=Profile(z, spine_y),
            body_depth=Profile(z, [17.0, 17.0, 17.0, 16.5, 16.0, 15.5, 14.5, 13.0]),
            body_width=Profile(z, [25.0, 24.0, 23.0, 22.0, 20.5, 18.5, 17.5, 15.5]),
        )

    def spine(self, z: float, right: float = 0.0, ahead: float = 0.0) -> tuple[float, float, float]:
        """A point given from the centre of the vertebral column at a height."""
        return self.spine_x.value(z) + right, self.spine_y.value(z) + ahead, z

    def before_spine(self, z: float, right: float, gap: float) -> tuple[float, float, float]:
        """A point ``gap`` mm before the front of the vertebral bodies."""
        return self.spine(z, right, self.body_depth.value(z) + gap)

    def wall(self, angle: float, z: float, depth: float) -> tuple[float, float]:
        """(x, y) where a ray at ``angle`` (degrees, 0 = right, 90 = front) leaves the cavity, ``depth`` mm further."""
        front, back = self.front.value(z), self.back.value(z)
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        u, v = (np.array(a, np.float32) for a in (c / self.half_width.value(z), 2.0 * s / (front - back)))
        radius = 1.0 / float(rounded_box_norm(u, v, 0.5)) + depth
        return float(c * radius), float(0.5 * (front + back) + s * radius)
