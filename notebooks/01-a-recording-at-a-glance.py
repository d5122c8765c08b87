# %% [markdown]
# # A recording at a glance
#
# **Question.** Here are three minutes of a mesh. Did anything happen in them that users felt? Where would I look first?
#
# The recording is a folder that `weirflow run` leaves behind. This one was made in virtual time, so its clock starts in
# 1970; everything else is as it would be in yours.

# %%
import matplotlib
import pandas as pd

import weirflow
from recordings import FAULT_S, recorded

matplotlib.rc("figure", dpi=64)
seen = weirflow.open(recorded("shop"))
seen

# %% [markdown]
# ## Look
#
# Every frame is indexed by time, durations are seconds, names are categories. First what there is, and how it ended.

# %%
attempts = seen.attempts
attempts.groupby(["outcome", "arm"], observed=True).duration_s.describe(percentiles=[0.5, 0.99]).round(3)

# %% [markdown]
# Nearly all of it ended well, so errors tell nothing here. Latency, then: a minute that differs would stand out.

# %%
seen.plot.latency("lab", every_s=2);

# %% [markdown]
# It does: the p99 rises for a while and comes down again. The median hardly moves, so it is not the whole service. An
# endpoint at a time:

# %%
seen.plot.latency("lab", every_s=5, by="endpoint");

# %% [markdown]
# One line leaves the others. What did Weirflow do about it?

# %%
seen.plot.weights("lab");

# %% [markdown]
# ## Check
#
# A plot suggests; a table decides. The p99 of each endpoint by half minutes, in milliseconds, over attempts that ended
# well.

# %%
good = attempts[attempts.outcome == "OK"]
halves = good.groupby([pd.Grouper(freq="30s"), "endpoint"], observed=True).duration_s
table = (1000 * halves.quantile(0.99)).unstack().round()
table.index = table.index.strftime("%M:%S")
table

# %%
spread = table.max() / table.median()
suspect = spread.idxmax()
spread.round(1).sort_values(ascending=False)

# %% [markdown]
# `small-0` is slow as well, but always: that is how it is, and no news (and while the others have room it is given next to
# nothing). What changed is one endpoint. Does the brain say the same?

# %%
seen.incidents[["kind", "endpoint", "severity", "found", "until", "harm", "summary"]]

# %% [markdown]
# The second one is the end of the recording: the requests stop, and it is found that they did. And did the brain act?

# %%
share = seen.endpoints.set_index("endpoint", append=True)["share"].unstack()
before = share.loc[: pd.Timestamp(FAULT_S[0], unit="s", tz="UTC"), suspect].iloc[-1]
least = share[suspect].min()
f"{suspect}: {before:.1%} of the adaptive arm before, {least:.1%} at least"

# %% [markdown]
# ## Conclusion
#
# Something happened: one endpoint turned slow for some forty seconds and came back. Weirflow found it, named it, and took
# its share away meanwhile. Look at that endpoint's host first; the rest of the fleet was as ever. (Here the truth is
# known: the world was drawn with exactly this fault.)

# %%
assert suspect == "sick-0"
assert set(seen.incidents.endpoint.dropna()) == {"sick-0"}
assert least < before / 3
assert (spread.drop("sick-0") < spread["sick-0"] / 1.5).all()
