"""The operations room: what is live now, and what staff do about it.

page.py            a page: its permission, its JSON, its place in any AdminSite
parts.py           what pages are made of, for the template and the script
viewer.py          who looks; names of users, addresses of pages
words.py           states, codes, sizes and times as people read them
agents.py          user agents in words
source.py          the functions of the Python API that are asked
overview.py        totals, nodes, the last hour
live.py            live sessions, and one of them
users.py           one user
story.py           why a message was, or was not, delivered
tracing.py         a trace of a user
workers.py         workers, pools and tasks
refusals.py        who was refused
actions.py         what actions share: asked, done, told, noted
disconnecting.py   sessions and users are disconnected
verdicts.py        users are blocked, unblocked; revocations
notifying.py       a message is sent
draining.py        a node is drained
pressed.py         forms that were sent already
"""
