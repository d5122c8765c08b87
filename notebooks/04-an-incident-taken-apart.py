# %% [markdown]
# # An incident taken apart
#
# **Question.** An alert named one endpoint. Was it right, how soon did it come, what did users feel, and did taking the
# endpoint's traffic away help, or was it over by itself?

# %%
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import weirflow
from recordings import FAULT_S, recorded

matplotlib.rc("figure", dpi=64)
seen = weirflow.open(recorded("shop"))
incidents = seen.incidents
incidents[["kind", "endpoint", "severity", "since", "found", "until", "harm"]]

# %% [markdown]
# The last one is the end of the recording, where the requests stop. The first is the one.

# %%
name = incidents.index[0]
incident = incidents.loc[name]
seen.plot.incident(name);

# %% [markdown]
# ## Was it right?
#
# The evidence, as the brain had it: what was seen, against the band that would have been usual.

# %%
evidence = pd.DataFrame(incident.evidence)
evidence[["kind", "endpoint", "value", "low", "high", "times", "said"]]

# %% [markdown]
# Hold it against the attempts themselves. For each endpoint the median before and during; during, only attempts that began
# after the fault did.

# %%
start, end = (pd.Timestamp(s, unit="s", tz="UTC") for s in FAULT_S)
good = seen.attempts.query("outcome == 'OK'")
medians = pd.DataFrame(
    {
        "before": good[:start].groupby("endpoint", observed=True).duration_s.median(),
        "during": good[(good.started >= start) & (good.index < end)].groupby("endpoint", observed=True).duration_s.median(),
    }
)
medians["times"] = medians.during / medians.before
medians.round(3)

# %% [markdown]
# ## How soon?
#
# The world was drawn, so the moment at which the endpoint turned slow is known to the second. The share of the adaptive
# arm that went there is what the brain changed; the alert is what people heard.

# %%
share = seen.endpoints.query("endpoint == @incident.endpoint")["share"]
usual = share[:start].iloc[-10:].mean()
cut = share[start:]
cut_at = cut[cut < usual / 2].index[0]
delays = pd.Series(
    {
        "share halved": (cut_at - start).total_seconds(),
        "alert": (incident.found - start).total_seconds(),
    },
    name="seconds after the fault began",
)
delays

# %% [markdown]
# ## What did users feel, and did it help?
#
# One request in five was left to the static rules all the time: the holdout. Both arms met the same broken endpoint in the
# same seconds, so what differs between them is what was done about it.

# %%
during = seen.between(cut_at, end).attempts
last = during[during.outcome.isin(["OK", "ERROR", "TIMEOUT"])]
felt = last.groupby("arm", observed=True).felt_s
arms = pd.DataFrame({"requests": felt.size(), "mean_s": felt.mean(), "p99_s": felt.quantile(0.99)})
arms.round(3)


# %%
def cut_in_mean(rows, random=np.random.default_rng(5), draws=2000):
    """1 - adaptive / static of the mean felt, with a 95 % interval by seconds drawn anew."""
    sums = rows.groupby([rows.index.floor("2s"), "arm"], observed=True).felt_s.agg(["sum", "size"]).unstack(fill_value=0)
    of = sums.to_numpy()[random.integers(len(sums), size=(draws, len(sums)))].sum(axis=1)
    adaptive, static = (list(sums.columns.get_level_values(1)[:2]).index(arm) for arm in ("adaptive", "static"))
    ratio = (of[:, adaptive] / of[:, 2 + adaptive]) / (of[:, static] / of[:, 2 + static])
    return np.quantile(1 - ratio, [0.025, 0.5, 0.975])


low, middle, high = cut_in_mean(last)
f"the adaptive arm's users waited {middle:.0%} less in the mean ({low:.0%} to {high:.0%})"

# %%
figure, ax = plt.subplots(figsize=(8, 2.8), layout="constrained")
for arm, mine in seen.between(start - pd.Timedelta("20s"), end + pd.Timedelta("20s")).attempts.groupby("arm", observed=True):
    line = 1000 * mine.felt_s.resample("3s").quantile(0.95)
    ax.plot(line.index, line, label=arm)
ax.axvspan(start, end, color="tab:red", alpha=0.08, lw=0)
ax.axvline(incident.found, color="tab:red", ls=":", lw=1)
ax.set(ylim=(0, None), ylabel="p95 felt, milliseconds", xlabel="time, UTC", title="Both arms, through the fault")
ax.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%M:%S"))
ax.legend(frameon=False);

# %% [markdown]
# ## Conclusion
#
# It was right: the endpoint named is the only one whose median left. Its share was halved before anybody could have read
# the alert. And it was not over by itself: in the same seconds users of the holdout waited longer, by more than luck.

# %%
assert incident.endpoint == "sick-0" and incident.kind == "EndpointSlow"
assert medians.times.idxmax() == "sick-0" and medians.times["sick-0"] > 3
assert medians.times.drop("sick-0").max() < 1.5
assert delays["share halved"] <= 10 and delays["alert"] <= 30
assert low > 0
