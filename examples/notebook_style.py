"""Cells for a notebook, or for an editor that knows `# %%`: no `await`, although a notebook runs a loop of its own.

python notebook_style.py audio/austen-0890.wav
"""

# %% One client for the whole session; its own loop starts in a thread with the first call.
import sys

from polyglot_async import Polyglot

client = Polyglot()
print(client.limits().plan)

# %% Each step is a value that the next cell can use.
task = client.transcriptions.upload(sys.argv[1])
print(task.task_id, task.status)

# %% Interrupting this cell stops the waiting and not the task: run it again.
task = client.transcriptions.wait(task)
transcript = client.transcriptions.result(task)
for segment in transcript.segments:
    print(f"{segment.start:6.1f} s  {segment.text}")

# %% Lists can be left at any point.
for other in client.transcriptions.list(page_size=20):
    print(other.task_id, other.status, other.transcript_preview)
    if other.task_id == task.task_id:
        break

# %% At the end.
client.close()
