"""Mixed load on a running vlmtool serve: whole and streamed answers, clients that leave or are slow, wrong
requests and connections without one. For developers.

    bin/vlmtool serve --model demo/model
    python tools/servecheck/soak.py http://127.0.0.1:8080 demo/example.png 60       (minutes)

Memory and goroutines of the server are printed once a minute; every request has to be answered. The exit code is
1 if one is not, if memory has grown by more than 5% since the first sixth of the time, or if goroutines are left at
the end.
"""

import base64
import collections
import http.client
import json
import random
import socket
import struct
import sys
import threading
import time
import urllib.request
import zlib
from pathlib import Path
from urllib.parse import urlsplit

CLIENTS = 12
FEW = 6  # goroutines of connections that are kept alive
MEMORY, GOROUTINES = "process_resident_memory_bytes", "go_goroutines"
seen: collections.Counter = collections.Counter()
lock = threading.Lock()


def plain_picture() -> str:
    """A PNG of 64 by 64 pixels of one colour, which few other requests have."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\0" + random.randbytes(3) * 64) * 64
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode()


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)


def whole(url: str, body: dict) -> str:
    c = connect(url)
    c.request("POST", "/v1/chat/completions", json.dumps(body))
    r = c.getresponse()
    answer = json.loads(r.read())
    c.close()
    return f"{r.status}" if r.status == (200 if "choices" in answer else 429) else f"WRONG: {r.status} {answer}"


def streamed(url: str, body: dict) -> str:
    c = connect(url)
    c.request("POST", "/v1/chat/completions", json.dumps(body | {"stream": True}))
    r = c.getresponse()
    text = r.read()
    c.close()
    if r.status == 429:
        return "429"
    return "streamed" if text.endswith(b"data: [DONE]\n\n") else f"WRONG: {r.status} {text[-300:]!r}"


def leaves(url: str, body: dict) -> str:
    c = connect(url)
    c.request("POST", "/v1/chat/completions", json.dumps(body | {"stream": random.random() < 0.7, "max_tokens": 500, "logit_bias": {"5": 100}}))
    time.sleep(random.random() * 0.2)
    c.close()
    return "left"


def dial(url: str) -> socket.socket:
    return socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=120)


def slow(url: str, body: dict) -> str:
    text = json.dumps(body | {"stream": random.random() < 0.5}).encode()
    with dial(url) as s:
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(text))
        step = len(text) // 5 + 1
        for at in range(0, len(text), step):
            s.sendall(text[at : at + step])
            time.sleep(0.1)
        answer = b""
        while part := s.recv(512):
            answer += part
            time.sleep(0.01)
    complete = answer.endswith((b"data: [DONE]\n\n\r\n0\r\n\r\n", b"}\n", b"}\n\r\n0\r\n\r\n", b"}}"))
    return "slow" if answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 429")) and complete else f"WRONG: {answer[-300:]!r}"


def wrong(url: str, body: dict) -> str:
    bodies = ["{", "[]", '{"messages": 3}', json.dumps(body | {"n": -1}), json.dumps(body | {"stop": ""}), "x" * random.randrange(200_000), json.dumps(body | {"response_format": {"type": "xml"}})]
    c = connect(url)
    c.request("POST", "/v1/chat/completions", random.choice(bodies))
    r = c.getresponse()
    answer = json.loads(r.read())
    c.close()
    return "refused" if r.status == 400 and answer["error"]["message"] else f"WRONG: {r.status} {answer}"


def silent(url: str, _: dict) -> str:
    """A connection that asks nothing, or not all."""
    with dial(url) as s:
        s.sendall(random.choice([b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost: 1", b"hello\r\n\r\n", random.randbytes(300)]))
        time.sleep(random.random())
    return "silent"


def unread(url: str, _: dict) -> str:
    """A large request that is refused for its path."""
    c = connect(url)
    c.request("POST", "/v1/embeddings", b" " * random.randrange(8_000_000))
    r = c.getresponse()
    answer = json.loads(r.read())
    c.close()
    return "refused unread" if r.status == 404 else f"WRONG: {r.status} {answer}"


def client(url: str, picture: str, until: float) -> None:
    while time.time() < until:
        parts = [{"type": "image_url", "image_url": {"url": random.choice([picture, plain_picture()])}} for _ in range(random.randrange(3))]
        content = parts + [{"type": "text", "text": random.choice(["what is it?", "what color is the triangle?", "how many? " * random.randrange(1, 60)])}]
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": random.randrange(1, 60), "temperature": random.random(), "n": random.choice([1, 1, 1, 3])}
        if random.random() < 0.2:
            body["response_format"] = {"type": "json_object"}
        kind, since = random.choice([whole, whole, streamed, streamed, leaves, slow, wrong, silent, unread]), time.time()
        try:
            outcome = kind(url, body)
        except Exception as e:  # no answer at all
            outcome = f"WRONG: {type(e).__name__}: {e}"
        with lock:
            seen[outcome.split(":")[0]] += 1
            if outcome.startswith("WRONG"):
                print(f"{kind.__name__}, after {time.time() - since:.1f} s: {outcome}", flush=True)


def measure(url: str) -> dict[str, float]:
    lines = urllib.request.urlopen(url + "/metrics").read().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(values[name]) for name in [MEMORY, GOROUTINES]}


def main(url: str, image: str, minutes: str) -> int:
    length = 60 * float(minutes)
    picture = "data:image/png;base64," + base64.b64encode(Path(image).read_bytes()).decode()
    start, idle = time.time(), measure(url)
    threads = [threading.Thread(target=client, args=(url, picture, start + length)) for _ in range(CLIENTS)]
    for t in threads:
        t.start()
    peaks, minute = [0.0, 0.0], 0  # bytes
    while (passed := time.time() - start) < length:
        time.sleep(min(5, length / 30))
        now, late = measure(url), passed > length / 6
        peaks[late] = max(peaks[late], now[MEMORY])
        if passed >= 60 * minute:
            with lock:
                print(f"{passed / 60:.0f} min: {now[MEMORY] / 1e6:.1f} MB, {now[GOROUTINES]:.0f} goroutines, {sum(seen.values())} requests", flush=True)
            minute += 1
    for t in threads:
        t.join()
    time.sleep(3)
    end = measure(url)
    print(dict(seen))
    print(f"memory: at most {peaks[0]:.0f} bytes at first, {peaks[1]:.0f} later")
    print(f"goroutines: {idle[GOROUTINES]:.0f} before, {end[GOROUTINES]:.0f} after")
    return int(seen["WRONG"] > 0 or peaks[1] > 1.05 * peaks[0] or end[GOROUTINES] > idle[GOROUTINES] + FEW)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
