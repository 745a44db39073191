"""Pretraining of the compact encoder on generated images; ``fewsam pretrain`` is the command.

Example::

    fill_pool(folder / "pool", patients=72)                  # phantom patients, once
    pool = read_pool(folder / "pool", 72)
    fit_linear(pool, 0, folder / "compact.safetensors")      # closed form, minutes
    Trainer(Recipe(steps=3000), folder, pool).run()          # or by gradient; goes on where the folder's run stopped
    finish(folder, pool, folder / "compact.safetensors")
"""

from fewsam.synthetic.pretraining.episodes import Episode, draw_episode
from fewsam.synthetic.pretraining.export import finish, fit_linear
from fewsam.synthetic.pretraining.pool import fill_pool, read_pool
from fewsam.synthetic.pretraining.trainer import Recipe, Trainer

__all__ = ["Episode", "Recipe", "Trainer", "draw_episode", "fill_pool", "finish", "fit_linear", "read_pool"]
