"""The daemon's HTTP face: `create_app` binds no port and needs no network.

`app` routes and answers, `doors` decides who may come in (the owner's Unix socket, or loopback TCP
with a token), `inputs` reads a request against its lexicon, `streams` writes events line by line,
`files` sends shards, `views` turns what is proved into what is said, and `handlers` has one thin
function per endpoint: read, call one service, answer.

Answers are JSON and nothing else: no text from a record ever becomes markup here.
"""

from atd_daemon.server.app import create_app
from atd_daemon.server.doors import TcpDoor, UnixDoor

__all__ = ["TcpDoor", "UnixDoor", "create_app"]
