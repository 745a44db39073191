"""Generated anatomy: torso phantoms rendered as CT and MR-like images, with their ground truth.

Example::

    anatomy = generate_patient(seed=0, patient=1)      # .labels uint8 (i, j, k) RAS+, .names, .affine
    ct = render_ct(anatomy, np.random.default_rng(1))  # int16 HU on the same grid
    write_dataset("sample-data", patients=6, seed=0)   # what `fewsam phantom` does
"""

from fewsam.synthetic.phantom.anatomy import PatientAnatomy, generate_patient
from fewsam.synthetic.phantom.ct import render_ct
from fewsam.synthetic.phantom.dataset import write_dataset
from fewsam.synthetic.phantom.mr import render_mr
from fewsam.synthetic.phantom.tissues import LABELS, Tissue

__all__ = ["LABELS", "PatientAnatomy", "Tissue", "generate_patient", "render_ct", "render_mr", "write_dataset"]
