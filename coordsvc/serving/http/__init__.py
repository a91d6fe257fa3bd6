"""The OpenAI-compatible HTTP door: a plain FastAPI application over the `Turns` port, without Ray.

A request's life: `middleware` names it and guards its way out (`wire`), `chat` admits it, `body`
reads it, `schema` judges it, `feed` runs the turn, `stream` and `replies` put it into OpenAI's
words. Whatever fails on the way travels up as an exception; `middleware` answers it (`errors`).
"""
