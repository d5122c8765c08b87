# %% [markdown]
# # A what-if, argued
#
# **Question.** May we switch one of the four endpoints off over night? The recording says how the service did with all of
# them. What would the p99 have been without one, and would another policy carry it?
#
# A prediction is worth what it can be checked by. So: what was in force is simulated first and held against what was
# recorded; and as this world was drawn, it can be run once more without that endpoint, and the prediction held against the
# truth.

# %%
import matplotlib
import matplotlib.pyplot as plt
import pandas as pd

import weirflow
from recordings import recorded
from weirflow.whatif.answer import Asked, answer
from weirflow.whatif.calibrate import calibrate
from weirflow.whatif.change import Question
from weirflow.whatif.question import Frame

matplotlib.rc("figure", dpi=64)
seen = weirflow.open(recorded("plain"))
recording = seen.recording
frame = Frame.of(recording, None)
world = calibrate(recording, frame.service)
seen.plot.latency("lab", every_s=5);

# %% [markdown]
# ## Ask
#
# Two questions in one go: without `steady-2`, and a quarter more load beside, under what was in force (least request over
# two choices) and under a full scan.

# %%
questions = (Question(), Question(remove=("steady-2",)), Question(remove=("steady-2",), load=1.25))
report = answer(recording, frame, world, Asked(questions, ("full_scan",), seeds=2))
report.concluded

# %% [markdown]
# ## Check the simulation
#
# How far is it from what was recorded, when nothing is changed? An answer of a simulation that cannot reproduce what was is
# worth nothing, and `concluded` would be False.

# %%
check = report.check
pd.DataFrame(
    {
        "recorded": check.recorded,
        "simulated": {name: said.value for name, said in check.simulated.items()},
        "off": check.off,
    }
).round(4)

# %% [markdown]
# ## The answers
#
# With their 95 % intervals, over seeds and over stretches of time drawn anew.


# %%
def figures(answer):
    for row in answer.rows:
        told = {"question": answer.question.words, "policy": row.policy, "busiest": row.busy.max()}
        for name in ("p50_s", "p99_s", "mean_s"):
            said = row.figures[name]
            told |= {name: said.value, f"{name} low": said.low, f"{name} high": said.high}
        yield told


table = pd.DataFrame(row for answer in report.answers for row in figures(answer)).set_index(["question", "policy"])
table[["p50_s", "p99_s", "p99_s low", "p99_s high", "busiest"]].round(3)

# %%
figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
questions = list(dict.fromkeys(table.index.get_level_values("question")))
for k, (policy, mine) in enumerate(table.groupby("policy", sort=False)):
    mine = 1000 * mine.droplevel("policy").loc[questions]
    reach = [mine["p99_s"] - mine["p99_s low"], mine["p99_s high"] - mine["p99_s"]]
    ax.errorbar(mine["p99_s"], [i + 0.12 * k for i in range(len(mine))], xerr=reach, fmt="o", label=policy)
ax.set(yticks=range(len(questions)), yticklabels=questions, xlim=(0, None), xlabel="p99, milliseconds (95 %)")
ax.legend(frameon=False);

# %% [markdown]
# ## The truth
#
# The same requests, at the same moments, with the same work, and one endpoint less: run and recorded for real (as real as a
# drawn world can be). The prediction above knew nothing of it.

# %%
fewer = weirflow.open(recorded("fewer")).attempts
users = fewer[fewer.arm == "static"].felt_s
truth = {"p50_s": users.quantile(0.5), "p99_s": users.quantile(0.99), "mean_s": users.mean()}
without = table.loc[(questions[1], "recorded")]
before = table.loc[(questions[0], "recorded")]
held = pd.DataFrame(
    {
        "as it was": {name: before[name] for name in truth},
        "predicted without": {name: without[name] for name in truth},
        "low": {name: without[f"{name} low"] for name in truth},
        "high": {name: without[f"{name} high"] for name in truth},
        "truth without": truth,
    }
)
held["off"] = held["predicted without"] / held["truth without"] - 1
held.round(3)

# %% [markdown]
# ## Conclusion
#
# Over night, at this load: yes. The p99 rises by a quarter or so and nobody fails; the truth, run afterwards, lies within
# the predicted intervals, which do not even include that a model may be wrong. A full scan would carry it with less. With a
# quarter more load it is another story: the three that are left are busy nine tenths of the time and the p99 doubles.
# So: with an eye on the load, and not on the day of a sale.

# %%
assert report.concluded and check.passed
assert (held["off"].abs() < 0.1).all()
assert ((held["low"] * 0.97 < held["truth without"]) & (held["truth without"] < held["high"] * 1.03)).all()
assert table.loc[(questions[1], "full_scan"), "p99_s"] < without["p99_s"]
assert table.loc[(questions[2], "recorded"), "p99_s"] > 1.5 * without["p99_s"]
