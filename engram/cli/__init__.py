"""The doors for people: `engram` (`engram.cli.user`) and `engram-node` (`engram.cli.node`).

Both must answer at once, so nothing is imported before it is needed: rich only to draw on a terminal or to print
help, the client only when a call is made, trio and the node only when a node runs.
"""
