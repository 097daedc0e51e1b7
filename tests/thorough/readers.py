"""How other readers of HTTP/1.1 read the bytes of one connection: h11, and llhttp by way of httptools.

Each gives the requests that it sees, in order, and how its reading ended: it `refuses` the rest, with its words; it
`waits` for more; it `closes`, because what it read said that the connection ends there; it is handed over to
another protocol (`upgrades`); or nothing is left (`ends`).
"""

from dataclasses import dataclass, field

import h11
import httptools

# Sizes are not what is compared: each reader and each deployment has its own.
BYTES_MAX = 1 << 22


@dataclass
class Request:
    """One request as a reader sees it; `whole` once its body was read to its end."""

    method: bytes
    target: bytes
    headers: list = field(default_factory=list)
    body: bytes = b""
    whole: bool = False

    def header(self, name):
        return [value for known, value in self.headers if known == name]


@dataclass
class Reading:
    requests: list
    end: str
    words: str = ""


def by_h11(data):
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=BYTES_MAX)
    if data:  # No bytes would mean to h11 that the connection has ended.
        connection.receive_data(data)
    requests = []
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            return Reading(requests, "refuses", str(error))
        if event is h11.NEED_DATA:
            left = connection.trailing_data[0] or connection.their_state is not h11.IDLE
            return Reading(requests, "waits" if left else "ends")
        if event is h11.PAUSED:
            return Reading(requests, "closes")
        if isinstance(event, h11.Request):
            headers = [(bytes(name), bytes(value)) for name, value in event.headers]
            requests.append(Request(bytes(event.method), bytes(event.target), headers))
        elif isinstance(event, h11.Data):
            requests[-1].body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            requests[-1].whole = True
            # Any answer that switches to nothing: what is read next does not depend on it.
            connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is h11.MUST_CLOSE or connection.their_state is h11.MUST_CLOSE:
                return Reading(requests, "closes" if connection.trailing_data[0] else "ends")
            connection.start_next_cycle()


class _Listener:
    """What llhttp calls while it reads."""

    def __init__(self):
        self.requests, self.open, self.target, self.headers, self.in_head = [], False, b"", [], False

    def on_message_begin(self):
        self.open, self.in_head, self.target, self.headers = True, True, b"", []

    def on_url(self, part):
        self.target += part

    def on_header(self, name, value):
        if self.in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self):
        self.in_head = False
        self.requests.append(Request(self.parser.get_method(), self.target, self.headers))

    def on_body(self, part):
        self.requests[-1].body += part

    def on_message_complete(self):
        self.open = False
        self.requests[-1].whole = True


def by_llhttp(data):
    listener = _Listener()
    listener.parser = httptools.HttpRequestParser(listener)
    try:
        listener.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        return Reading(listener.requests, "upgrades")
    except httptools.HttpParserError as error:
        closes = "after `Connection: close`" in str(error)
        return Reading(listener.requests, "closes" if closes else "refuses", str(error))
    return Reading(listener.requests, "waits" if listener.open else "ends")


READERS = {"h11": by_h11, "llhttp": by_llhttp}
