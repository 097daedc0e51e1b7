"""Opens what bearerd seals with another implementation of everything: PyNaCl's XChaCha20-Poly1305 (libsodium), and
HKDF of the package `cryptography`; and lets bearerd open what they seal.

Written from docs/enrolment.md alone.
"""

import base64
import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workbench import ROOT, TARGET, check, need, ok

need("pynacl", "cryptography")

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt as decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt as encrypt,
)
from nacl.exceptions import CryptoError


ROUNDS = int(os.environ.get("BEARERD_ROUNDS", "500" if os.environ.get("THOROUGH_QUICK") else "10000"))


def hkdf(material: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(material)


def sealing_key(keyring: str, name: str) -> bytes:
    for line in keyring.splitlines():
        words = line.split("#")[0].split()
        if words and words[1] == name:
            return hkdf(base64.urlsafe_b64decode(words[2] + "="), b"bearerd/1/seal")
    raise KeyError(name)


def take_apart(envelope: bytes):
    version, length = envelope[0], envelope[1]
    assert version == 1
    name, nonce, sealed = envelope[2 : 2 + length], envelope[2 + length : 26 + length], envelope[26 + length :]
    return name.decode(), nonce, sealed


def open_under_keyring(keyring: str, associated: str, envelope: bytes) -> bytes:
    name, nonce, sealed = take_apart(envelope)
    return decrypt(sealed, associated.encode(), nonce, sealing_key(keyring, name))


def open_reply(token: str, attempt: str, hostname: str, envelope: bytes) -> bytes:
    name, nonce, sealed = take_apart(envelope)
    assert name == ""
    material = len(token).to_bytes(2, "big") + token.encode() + attempt.encode()
    return decrypt(sealed, hostname.lower().encode(), nonce, hkdf(material, b"bearerd/1/reply"))


def refuses(opening, *arguments) -> None:
    try:
        opening(*arguments)
    except (CryptoError, KeyError, AssertionError, UnicodeDecodeError, IndexError, ValueError, TypeError):
        return
    raise SystemExit(f"opened what must not open: {arguments}")


def cargo(test: str, envelopes: Path) -> None:
    surroundings = dict(os.environ, BEARERD_ENVELOPES=str(envelopes), BEARERD_ROUNDS=str(ROUNDS))
    command = ["cargo", "test", "-q", "--test", "envelopes", "--", "--ignored", "--exact", test]
    subprocess.run(command, check=True, cwd=ROOT, env=surroundings)


def theirs() -> None:
    file = TARGET / "envelopes-of-bearerd.jsonl"
    cargo("write_rows", file)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == ROUNDS
    dice, nonces, before = random.Random(7), set(), None
    for number, row in enumerate(rows):
        for_token, for_host, reply = (bytes.fromhex(row[name]) for name in ("for_token", "for_host", "reply"))
        of_token = "bearerd/1/token/" + hashlib.sha256(row["token"].encode()).hexdigest()
        of_host = "bearerd/1/host/" + row["host_id"]
        under = row["keyring"]
        assert open_under_keyring(under, of_token, for_token) == row["credentials"].encode()
        assert open_under_keyring(under, of_host, for_host) == row["credentials"].encode()
        told = open_reply(row["token"], row["attempt"], row["hostname"], reply)
        assert told == row["agent_token"].encode()
        nonces.update(take_apart(envelope)[1] for envelope in (for_token, for_host, reply))
        # In another place, with another attempt or name, or with any bit flipped, nothing opens.
        refuses(open_under_keyring, under, of_host, for_token)
        refuses(open_under_keyring, under, of_token, for_host)
        if before:
            refuses(open_under_keyring, under, before, for_token)
        before = of_token
        refuses(open_reply, row["token"], row["attempt"][1:], row["hostname"], reply)
        refuses(open_reply, row["token"][1:], row["attempt"], row["hostname"], reply)
        refuses(open_reply, row["token"], row["attempt"], row["hostname"] + "x", reply)
        bits = range(len(for_host) * 8) if number < 3 else [dice.randrange(len(for_host) * 8)]
        for bit in bits:
            flipped = bytearray(for_host)
            flipped[bit // 8] ^= 1 << bit % 8
            refuses(open_under_keyring, under, of_host, bytes(flipped))
    check("envelopes: no nonce was used twice", len(nonces), 3 * ROUNDS)
    ok(f"envelopes: {3 * ROUNDS} of bearerd open by libsodium, and only where they belong")


def ours() -> None:
    file = TARGET / "envelopes-for-bearerd.jsonl"
    with file.open("w") as out:
        for number in range(ROUNDS):
            root = os.urandom(32)
            spelled = base64.urlsafe_b64encode(root).decode().rstrip("=")
            name, nonce, plain = f"key-{number}", os.urandom(24), os.urandom(number % 1000)
            associated = f"bearerd/1/host/{number}"
            sealed = encrypt(plain, associated.encode(), nonce, hkdf(root, b"bearerd/1/seal"))
            envelope = bytes([1, len(name)]) + name.encode() + nonce + sealed
            row = {
                "keyring": f"current {name} {spelled}\n",
                "associated": associated,
                "envelope": envelope.hex(),
                "plain": plain.hex(),
            }
            out.write(json.dumps(row) + "\n")
    cargo("open_theirs", file)
    ok(f"envelopes: {ROUNDS} of libsodium are opened by bearerd")


theirs()
ours()
