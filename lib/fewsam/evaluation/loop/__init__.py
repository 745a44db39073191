"""The annotator loop without a person: how many slices, and how much of somebody's time, a task will take.

A *lab* offers slices, takes drawings in and segments, either in this process or behind the real REST server. An
*annotator* draws from the truth, not quite rightly if asked. The curve is the IoU over slices that are never offered.
"""
