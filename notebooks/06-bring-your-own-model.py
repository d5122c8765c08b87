# %% [markdown]
# # Bring your own model
#
# **Question.** I have an idea of my own how latency hangs on load. Is it better than what decides now, and what happens if
# I let it decide?
#
# A model is anything with river's verbs (`learn_one`, `predict_one`) or scikit-learn's (`fit` or `partial_fit`, and
# `predict`). At each tick it is given, for each endpoint, the features below, and foretells the mean latency of the
# attempts that end there in the next second; then it is taught what they took.

# %%
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from river import compose, preprocessing, tree
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import weirflow
from brain.own import FEATURES
from recordings import recorded
from weirflow import own
from weirflow.scored import rows_of, score

matplotlib.rc("figure", dpi=64)
seen = weirflow.open(recorded("shop"))
FEATURES

# %% [markdown]
# ## Two ideas, and a bad one
#
# A factory makes a model; it is called anew whenever one has to learn from the start. `ridge` fits the logarithm of
# latency linearly to logarithms of the features, anew every 300 rows. `forest` is a river pipeline: a Hoeffding tree that
# learns a row at a time. `broken` raises after a while, as models do.

# %%
def ridge():
    logs = FunctionTransformer(lambda x: np.log(np.maximum(x, 1e-4)))
    return TransformedTargetRegressor(make_pipeline(logs, Ridge(1.0)), func=np.log, inverse_func=np.exp)


def forest():
    leaf = {"grace_period": 60, "leaf_prediction": "adaptive"}
    return compose.Pipeline(preprocessing.StandardScaler(), tree.HoeffdingTreeRegressor(**leaf))


class Broken:
    """Says what it was last taught, until it has seen two hundred rows."""

    def __init__(self):
        self.rows, self.last = 0, 0.1

    def learn_one(self, x, y):
        self.rows, self.last = self.rows + 1, y

    def predict_one(self, x):
        if self.rows > 200:
            raise ArithmeticError("what is this?")
        return self.last


roster = own.roster({"ridge": ridge, "forest": forest, "broken": Broken})

# %% [markdown]
# ## Score them on a recording
#
# Progressively: every model foretells before it learns, and the errors are those by which the brain itself compares models
# (`brain/scores.py`). On the command line this is `weirflow models compare RECORDING --model mine:ridge`.

# %%
scored = pd.DataFrame(rows_of(score(seen.recording, roster)))
latency = scored[scored.quantity == "latency"].set_index("model")
latency[["role", "count", "error", "against_champion", "low", "high", "against_baseline", "inside_90", "note"]].round(3)

# %% [markdown]
# `broken` was dropped where it raised, with a note, and cost the others nothing. For the rest the column `against_champion`
# tells, with its interval: below 1 is better than what decides, and an interval that has 1 in it tells nothing.

# %%
figure, ax = plt.subplots(figsize=(6, 2.2), layout="constrained")
rest = latency.drop(["broken", "queueing"])
ax.errorbar(rest.against_champion, range(len(rest)), xerr=[rest.against_champion - rest.low, rest.high - rest.against_champion], fmt="o")
ax.axvline(1.0, color="0.5", lw=0.8)
ax.set(yticks=range(len(rest)), yticklabels=rest.index, xlim=(0, None), xlabel="error, in times of the champion's (95 %)");

# %% [markdown]
# ## Let one decide, in the shadow
#
# Make it known to a brain in shadow mode, let it learn beside ours as the challenger, and promote it by order, as
# `weirflow models promote` does. The world is the same shop, in virtual time; nothing that is decided is applied, so this
# costs nobody anything.

# %%
from functools import partial

from brain.brain import Brain
from brain.commands import PromoteModel
from brain.settings import Mode, Models, Settings
from recordings import WORLDS
from weirflow.lab.draw import draw
from weirflow.lab.simulate import simulate

PROMOTED_S, UNDONE_S = 60, 85


class Watched(Brain):
    """A brain to whom an operator speaks, and that is looked at."""

    def tick(self, now):
        if now == PROMOTED_S:
            self.command(PromoteModel("ridge"), now)
        if now == UNDONE_S:
            self.command(PromoteModel(None), now)
        decision = super().tick(now)
        decided.append(decision)
        standing.append({"now": now, **{m.name: m.role for m in self.models(now)}})
        return decision


scenario, _ = WORLDS["shop"]
fleet, trace = draw(scenario, np.random.default_rng(7), scenario.nodes)
trace = trace.take(trace.at_s < 100)
settings = Settings(mode=Mode.SHADOW, models=Models(challenger="ridge"))
decided, standing = [], []
brain = partial(Watched, own=own.roster({"ridge": ridge}))
simulate(scenario, "weirflow", fleet, trace, np.random.default_rng(8), nodes=scenario.nodes, settings=settings, make_brain=brain)
roles = pd.DataFrame(standing).set_index("now")
roles.loc[[PROMOTED_S - 1, PROMOTED_S, UNDONE_S]]

# %%
notes = [(d.now, note) for d in decided for note in d.notes if note.startswith("model")]
notes

# %% [markdown]
# What would it have done? The capacities that weights are made of, before, under it, and after: the same mesh, seen by two
# models. In all that time not one request was picked by either.

# %%
def capacities(now):
    (decision,) = [d for d in decided if d.now == now]
    return {e.address: e.capacity for e in decision.services[0].endpoints}


seen_by = pd.DataFrame({f"{who}, {now} s": capacities(now) for who, now in (("ours", 59), ("ridge", 80), ("ours", 90))})
seen_by.round(1)

# %%
applied = {d.services[0].share_percent for d in decided}
applied

# %% [markdown]
# ## Conclusion
#
# An idea of one's own is a factory; the recording says what it is worth, by the brain's own scores and with an interval; a
# model that fails costs nothing; and to see what it would do, it may decide in the shadow and be taken back by one word.
# What a better forecast is worth to users, only the holdout can say: that is why a promotion is watched once traffic follows
# it.

# %%
assert latency.note["broken"].startswith("it raised ArithmeticError")
assert latency["count"]["ridge"] > 20 and np.isfinite(latency.against_champion["forest"])
assert list(roles.ridge.loc[[PROMOTED_S - 1, PROMOTED_S, UNDONE_S]]) == ["challenger", "champion", "comes back"]
assert applied == {0.0}
