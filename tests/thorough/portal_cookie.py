"""The portal cookie once more, written from docs/portal.md alone: Python's hmac and nothing of bearerd.

Reads cases of ours, one JSON object a line: root, kid, store, link (hex), issued, cookie. Answers each with
a line: whether our cookie is the one that this file makes, what it reads out of it, and candidates of its
own, genuine and forged, each with what it should be taken for. portal_cookie.rs compares.
"""

import base64
import hashlib
import hmac
import json
import random
import re
import struct
import sys

SHAPE = re.compile(r"v1\.([A-Za-z0-9-]{1,32})\.([A-Za-z0-9_-]{32})\.([A-Za-z0-9_-]{43})")


def derive(root, info):
    """HKDF-SHA256 without salt, one block."""
    extracted = hmac.new(bytes(32), root, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def mac(key, kid, store, payload, prefixed=True):
    fields = [b"bearerd/1/cookie", b"v1", kid.encode(), store, payload.encode()]
    message = b"".join((struct.pack(">I", len(field)) if prefixed else b"") + field for field in fields)
    return hmac.new(key, message, hashlib.sha256).digest()


def mint(root, kid, store, link, issued, key=None):
    payload = base64url(link + struct.pack(">Q", issued))
    key = derive(root, b"bearerd/1/cookie") if key is None else key
    return f"v1.{kid}.{payload}.{base64url(mac(key, kid, store, payload))}"


def read(root, kid, store, cookie):
    """What a cookie says, or None where it is none of this key and store."""
    shape = SHAPE.fullmatch(cookie)
    if not shape or shape[1] != kid:
        return None
    signature = base64.urlsafe_b64decode(shape[3] + "=")
    if base64url(signature) != shape[3]:
        return None
    if not hmac.compare_digest(signature, mac(derive(root, b"bearerd/1/cookie"), kid, store, shape[2])):
        return None
    payload = base64.urlsafe_b64decode(shape[2])
    return [payload[:16].hex(), struct.unpack(">Q", payload[16:])[0]]


def twin_of_last(text):
    """Another spelling of the same bytes: the bits that the last character leaves over."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) ^ random.randint(1, 3)]


def forgeries(root, kid, store, link, issued):
    good = mint(root, kid, store, link, issued)
    _, _, payload, signature = good.split(".")
    for key in (
        b"",
        b"secret",
        root,
        derive(root, b"bearerd/1/jwt"),
        derive(root, b"bearerd/1/seal"),
        derive(root, b"bearerd/1/Cookie"),
        derive(random.randbytes(32), b"bearerd/1/cookie"),
    ):
        yield mint(root, kid, store, link, issued, key)
    key = derive(root, b"bearerd/1/cookie")
    yield mint(root, kid, random.randbytes(16), link, issued)
    yield f"v1.{kid}.{payload}.{base64url(mac(key, kid, store, payload, prefixed=False))}"
    yield f"v1.{kid}.{payload}.{base64url(mac(key, '', store, payload))}"
    yield f"v1.{kid}.{payload}.{mac(key, kid, store, payload).hex()}"
    yield f"v1.{kid}.{payload}.{base64url(hmac.new(key, payload.encode(), hashlib.sha256).digest())}"
    yield f"v1.{kid}x.{payload}.{signature}"
    yield f"v1..{payload}.{signature}"
    yield f"v2.{kid}.{payload}.{signature}"
    yield f"v1.{kid}.{base64url(random.randbytes(24))}.{signature}"
    yield f"v1.{kid}.{payload}.{signature[: random.randint(0, 42)]}"
    yield twin_of_last(good)
    yield good + "="
    yield good + random.choice("A._-= \t\n\0")
    yield good.replace("-", "+").replace("_", "/")
    yield base64.b64encode(good.encode()).decode()
    yield good[random.randint(1, len(good)) :]
    yield good[: random.randint(0, len(good) - 1)]
    at, bit = random.randrange(len(good)), random.randrange(7)
    yield good[:at] + chr(ord(good[at]) ^ (1 << bit)) + good[at + 1 :]
    yield good.upper()
    yield good.swapcase()


def main():
    random.seed(int(sys.argv[1]))
    for line in sys.stdin:
        case = json.loads(line)
        root, store, link = (bytes.fromhex(case[name]) for name in ("root", "store", "link"))
        kid, issued, cookie = case["kid"], case["issued"], case["cookie"]
        texts = [mint(root, kid, store, random.randbytes(16), random.getrandbits(64))]
        texts += random.sample(list(forgeries(root, kid, store, link, issued)), 4)
        print(
            json.dumps(
                {
                    "same": mint(root, kid, store, link, issued) == cookie,
                    "read": read(root, kid, store, cookie),
                    "candidates": [[text, read(root, kid, store, text)] for text in texts],
                }
            )
        )


if __name__ == "__main__":
    main()
