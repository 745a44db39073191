"""Few-shot evaluation: K labelled slices, everything else tested, all methods on the same slices.

A *task* names volumes, truths and classes; a *draw* says which slices are labelled and which are tested; a *cell* is
one method on one draw. Nothing labelled is ever tested.
"""
