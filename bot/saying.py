"""What a delivery says in Slack: its text and its blocks."""

import html
from dataclasses import replace

from bot import deciders, render
from bot.slack import Said
from router.ports import Step
from store.outbox import Delivery


def said_of(delivery: Delivery) -> Said:
    """The message of a reply, with its cards and its footer, or of a notice."""
    body = delivery.body
    if delivery.kind == "reply":
        markdown = str(body["markdown"])
        steps = [(step.title, step.status) for step in steps_of(delivery)]
        text, blocks = (
            render.fallback_text(markdown, body.get("mentions", "none")),
            render.reply_blocks(markdown, steps, body.get("footer")),
        )
    else:
        sentence = str(body["text"])
        text = html.escape(sentence, quote=False)
        blocks = render.notice_blocks(sentence, body.get("reference"))
        if beside := body.get("beside"):  # a line of bot.deciders, made of ids
            blocks.append(deciders.context(str(beside)))
    return Said(delivery.channel_id, delivery.thread_ts, text, blocks)


def steps_of(delivery: Delivery) -> tuple[Step, ...]:
    """The steps that a reply's cards show."""
    return tuple(Step(*step) for step in delivery.body.get("steps") or ())


def plainly(delivery: Delivery, said: Said) -> Said:
    """The same without blocks: a reply's text beside them is cut, so here it is what was written."""
    if delivery.kind != "reply":
        return replace(said, blocks=None)
    body = delivery.body
    whole = render.escaped(str(body["markdown"]), body.get("mentions", "none"))
    return replace(said, text=whole, blocks=None)
