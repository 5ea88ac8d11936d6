"""Asks a running vlmtool serve by OpenAI's Python client and by LangChain. For developers.

    bin/vlmtool serve --model demo/model
    python tools/servecheck/check.py http://127.0.0.1:8080/v1 demo/example.png "what color is the triangle?"
                                                              (needs pip install openai langchain-openai)

What does not come out as OpenAI's API gives it is printed; the exit code is then 1.
"""

import base64
import json
import sys
from pathlib import Path

import openai
from langchain_openai import ChatOpenAI

failures = 0


def check(name: str, ok: bool, seen: object) -> None:
    global failures
    failures += not ok
    print(f"{'ok   ' if ok else 'WRONG'} {name}: {str(seen)[:150]}")


def refused(name: str, kind: type[openai.APIStatusError], code: str, call) -> None:
    try:
        call()
        check(name, False, "no error")
    except openai.APIStatusError as e:
        check(name, isinstance(e, kind) and e.code == code, f"{type(e).__name__} {e.code}: {e.message}")


def user(*parts: object) -> list[dict]:
    return [{"role": "user", "content": list(parts) if len(parts) > 1 else parts[0]}]


def text(value: str) -> dict:
    return {"type": "text", "text": value}


def main(url: str, image: str, question: str) -> int:
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    model = client.models.list().data[0].id
    check("model", client.models.retrieve(model).id == model, model)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(Path(image).read_bytes()).decode()}}
    about = user(picture, text(question))

    def ask(**more):
        return client.chat.completions.create(**{"model": model, "messages": about, "temperature": 0, "max_tokens": 40} | more)

    whole = ask()
    answer = whole.choices[0].message.content
    check("a picture", bool(answer) and whole.choices[0].finish_reason == "stop", answer)
    check("usage", whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens > 0, whole.usage)
    second = ask(messages=about + [{"role": "assistant", "content": answer}, *user(picture, text(question))])
    check("a second picture", bool(second.choices[0].message.content), second.choices[0].message.content)
    check("text first", ask(messages=user(text(question), picture)).choices[0].message.content == answer, answer)

    parts = list(ask(stream=True, stream_options={"include_usage": True}))
    check("a stream", "".join(c.choices[0].delta.content or "" for c in parts if c.choices) == answer, f"{len(parts)} parts")
    check("a stream's usage", parts[-1].usage.completion_tokens == whole.usage.completion_tokens, parts[-1].usage)
    with client.chat.completions.stream(model=model, messages=about, temperature=0) as stream:
        check("stream()", stream.get_final_completion().choices[0].message.content == answer, answer)
    early = ask(stream=True, max_tokens=200, temperature=2)
    next(iter(early))
    early.close()

    several = ask(n=3, temperature=1.5, seed=1, max_tokens=8).choices
    again = ask(n=3, temperature=1.5, seed=1, max_tokens=8).choices
    check("n and seed", [c.message.content for c in several] == [c.message.content for c in again] and len(several) == 3, [c.message.content for c in several])
    tokens = ask(logprobs=True, top_logprobs=2).choices[0].logprobs.content
    check("logprobs", "".join(t.token for t in tokens) == answer and len(tokens[0].top_logprobs) == 2, [(t.token, round(t.logprob, 3)) for t in tokens])
    check("stop", ask(stop=[answer[1:]]).choices[0].message.content == answer[:1], answer[:1])

    schema = {"type": "object", "properties": {"color": {"enum": ["red", "green", "blue"]}, "sure": {"type": "boolean"}}, "required": ["color", "sure"], "additionalProperties": False}
    made = json.loads(ask(response_format={"type": "json_schema", "json_schema": {"name": "seen", "strict": True, "schema": schema}}).choices[0].message.content)
    check("json_schema", set(made) == {"color", "sure"} and isinstance(made["sure"], bool), made)
    free = ask(response_format={"type": "json_object"}).choices[0]
    check("json_object", free.message.content.startswith("{"), (free.finish_reason, free.message.content))

    completion = client.completions.create(model=model, prompt=question, max_tokens=5, temperature=0, logprobs=1)
    check("completions", completion.usage.completion_tokens <= 5 and completion.choices[0].logprobs is not None, completion.choices[0].text)
    check("completions streamed", "".join(c.choices[0].text for c in client.completions.create(model=model, prompt=question, max_tokens=5, temperature=0, stream=True)) == completion.choices[0].text, "")

    refused("another model", openai.NotFoundError, "model_not_found", lambda: ask(model="gpt-4o"))
    refused("a URL", openai.BadRequestError, "invalid_image_url", lambda: ask(messages=user({"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}, text("?"))))
    refused("a long prompt", openai.BadRequestError, "context_length_exceeded", lambda: ask(messages=user("what color is it? " * 100_000)))
    refused("temperature", openai.BadRequestError, "invalid_value", lambda: ask(temperature=3))

    chat = ChatOpenAI(base_url=url, api_key="none", model=model, temperature=0, max_retries=0)
    check("LangChain", chat.invoke([("user", about[0]["content"])]).content == answer, answer)
    check("LangChain streams", "".join(c.content for c in chat.stream([("user", about[0]["content"])])) == answer, answer)
    structured = chat.with_structured_output(schema | {"title": "seen"}, method="json_schema").invoke([("user", about[0]["content"])])
    check("LangChain's structured output", set(structured) == {"color", "sure"}, structured)
    print(f"{failures} wrong")
    return int(failures > 0)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
