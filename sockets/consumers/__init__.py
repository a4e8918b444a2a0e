"""The two sockets as Channels consumers, with a loop of their own: nothing a message pays twice."""
