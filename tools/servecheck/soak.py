"""Mixed load on a running vlmtool serve: whole and streamed answers, clients that leave or are slow, wrong
requests. For developers.

    bin/vlmtool serve --model demo/model
    python tools/servecheck/soak.py http://127.0.0.1:8080 demo/example.png 60       (minutes)

Memory and goroutines of the server are printed; every request has to be answered. The exit code is 1 if one
is not, if memory has grown by more than 5% since the first sixth of the time, or if goroutines are left at the end.
"""

import base64
import collections
import http.client
import json
import random
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

CLIENTS = 12
FEW = 6  # goroutines of connections that are kept alive
MEMORY, GOROUTINES = "process_resident_memory_bytes", "go_goroutines"
seen: collections.Counter = collections.Counter()


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)


def whole(url: str, body: dict) -> str:
    c = connect(url)
    c.request("POST", "/v1/chat/completions", json.dumps(body))
    r = c.getresponse()
    answer = json.loads(r.read())
    c.close()
    return f"{r.status}" if ("choices" in answer) == (r.status == 200) else "WRONG"


def streamed(url: str, body: dict) -> str:
    c = connect(url)
    c.request("POST", "/v1/chat/completions", json.dumps(body | {"stream": True}))
    r = c.getresponse()
    text = r.read()
    c.close()
    if r.status == 429:
        return "429"
    return "streamed" if text.endswith(b"data: [DONE]\n\n") else "WRONG"


def leaves(url: str, body: dict) -> str:
    c = connect(url)
    c.request("POST", "/v1/chat/completions", json.dumps(body | {"stream": random.random() < 0.7, "max_tokens": 500, "logit_bias": {"5": 100}}))
    time.sleep(random.random() * 0.2)
    c.close()
    return "left"


def slow(url: str, body: dict) -> str:
    text = json.dumps(body).encode()
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=120) as s:
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(text))
        step = len(text) // 5 + 1
        for at in range(0, len(text), step):
            s.sendall(text[at : at + step])
            time.sleep(0.1)
        answer = b""
        while part := s.recv(65536):
            answer += part
    return "slow" if answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 429")) else "WRONG"


def wrong(url: str, body: dict) -> str:
    bodies = ["{", "[]", '{"messages": 3}', json.dumps(body | {"n": -1}), json.dumps(body | {"stop": ""}), "x" * random.randrange(200_000), json.dumps(body | {"response_format": {"type": "xml"}})]
    c = connect(url)
    c.request("POST", "/v1/chat/completions", random.choice(bodies))
    r = c.getresponse()
    answer = json.loads(r.read())
    c.close()
    return "refused" if r.status == 400 and answer["error"]["message"] else "WRONG"


def client(url: str, picture: str, until: float) -> None:
    while time.time() < until:
        part = {"type": "image_url", "image_url": {"url": picture}}
        content = [part] * random.randrange(3) + [{"type": "text", "text": random.choice(["what is it?", "what color is the triangle?", "how many? " * random.randrange(1, 60)])}]
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": random.randrange(1, 60), "temperature": random.random(), "n": random.choice([1, 1, 1, 3])}
        if random.random() < 0.2:
            body["response_format"] = {"type": "json_object"}
        try:
            seen[random.choice([whole, whole, streamed, streamed, leaves, slow, wrong])(url, body)] += 1
        except Exception as e:  # no answer at all
            seen["WRONG"] += 1
            print(f"{type(e).__name__}: {e}")


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
    peaks = [0.0, 0.0]  # bytes
    while time.time() < start + length:
        time.sleep(min(5, length / 30))
        late = time.time() > start + length / 6
        peaks[late] = max(peaks[late], measure(url)[MEMORY])
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
