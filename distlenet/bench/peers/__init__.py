"""The peers that ``distlenet bench`` compares this trainer with: a file for each library.

Each class in it is one row of the table: see ``peer.Peer`` for what it must have, and ``catalogue`` for the list.
"""
