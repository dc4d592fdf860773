"""An agent's settings: their keys, what overrides them, the line under an answer."""

from datetime import timedelta
from decimal import Decimal

import pytest

from router.behaviour import AgentSettings, Behaviour, Prompt, SlackTools, behaviour_of
from router.errors import ConfigurationError
from router.turns.footer import line, under
from store.outbox import Effect
from store.usage import Usage

_PROMPT = '{"title": " Plan ", "message": "!tool"}'


def test_a_channel_overrides_only_what_it_names():
    settings = AgentSettings.parse(
        '{"busy": "collect", "footer": true, "channels": {"C1": {"busy": "steer"}}}'
    )
    assert settings.at("C1") == Behaviour(busy="steer", footer=True)
    assert settings.at("C2") == settings.at(None) == Behaviour(busy="collect", footer=True)
    assert behaviour_of(settings.stored(), "C1") == settings.at("C1")
    assert settings.stored() == {
        "busy": "collect",
        "footer": True,
        "channels": {"C1": {"busy": "steer"}},
    }


def test_without_settings_messages_wait_and_answers_are_streamed():
    assert behaviour_of({}, "C1") == Behaviour(
        busy="queue", collect_seconds=3, stream=True, footer=False, mentions="none"
    )


def test_an_agents_own_calls_to_slack_stay_at_home_unless_settings_say_more():
    assert Behaviour().slack_tools == SlackTools(channels=(), post="ask")
    settings = AgentSettings.parse(
        '{"slack_tools": {"channels": ["#general", "C0123"], "post": "deny"},'
        ' "channels": {"C1": {"slack_tools": {"channels": "all"}}}}'
    )
    stored = settings.stored()
    assert behaviour_of(stored, None).slack_tools.channels == ("#general", "C0123")
    assert behaviour_of(stored, "C1").slack_tools == SlackTools(channels="all", post="ask")
    for wrong in ('"some"', '["a b"]', '[""]', '["<#C1>"]'):
        with pytest.raises(ConfigurationError, match=r"slack_tools\.channels"):
            AgentSettings.parse(f'{{"slack_tools": {{"channels": {wrong}}}}}')


def test_prompts_are_kept_in_order_and_a_channel_has_its_own():
    own = '{"title": "Here", "message": "!echo here"}'
    settings = AgentSettings.parse(
        f'{{"greeting": "Hello", "prompts": [{_PROMPT}, {own}],'
        f' "channels": {{"D1": {{"prompts": [{own}]}}}}}}'
    )
    here, there = Prompt(title="Plan", message="!tool"), Prompt(title="Here", message="!echo here")
    assert (settings.at(None).greeting, settings.at(None).prompts) == ("Hello", (here, there))
    stored = behaviour_of(settings.stored(), "D1")
    assert (stored.greeting, stored.prompts) == ("Hello", (there,))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"busi": "steer"}', "busi: Extra inputs"),
        ('{"busy": "dance"}', "busy: Input should be 'queue', 'steer' or 'collect'"),
        ('{"collect_seconds": 0}', "collect_seconds: "),
        ('{"mentions": "groups"}', "mentions: Input should be 'none', 'people' or 'all'"),
        ('{"channels": {"C1": {"foot": 1}}}', "channels.C1.foot: Extra inputs"),
        ('{"prompts": [{"title": "x"}]}', "prompts.0.message: Field required"),
        ('{"prompts": [{"title": " ", "message": "y"}]}', "prompts.0.title: String should match"),
        (f'{{"prompts": [{{"title": "{"x" * 76}", "message": "y"}}]}}', "prompts.0.title: String"),
        (
            f'{{"prompts": [{{"title": "x", "message": "{"y" * 4001}"}}]}}',
            "prompts.0.message: Stri",
        ),
        (f'{{"prompts": [{", ".join([_PROMPT] * 5)}]}}', "prompts: Tuple should have at most 4"),
        ('{"greeting": 7}', "greeting: Input should be a valid string"),
        ("[]", "settings: "),
        ("{", "settings: Invalid JSON"),
    ],
)
def test_every_mistake_is_named(text: str, named: str):
    with pytest.raises(ConfigurationError, match=f"^{named}"):
        AgentSettings.parse(text)


@pytest.mark.parametrize(
    ("seconds", "cents", "says"),
    [
        (0.2, "0.5", "1 s · $0.0050"),
        (59.4, "100", "59 s · $1.00"),
        (125, "0", "2 min 5 s · $0.00"),
        (3, None, "3 s"),
    ],
)
def test_the_line_says_the_time_and_the_cost_if_it_is_known(
    seconds: float, cents: str | None, says: str
):
    used = None if cents is None else Usage(cost_cents=Decimal(cents))
    assert line(timedelta(seconds=seconds), used) == says


def test_the_line_stands_under_the_last_words_only():
    one = Effect("reply:1:0", "reply", {"markdown": "one"})
    two = Effect("reply:1:1", "reply", {"markdown": "two"})
    notice = Effect("notice:1:end", "notice", {"text": "stopped"})
    first, second, third = under([one, two, notice], "3 s")
    assert (first, third) == (one, notice)
    assert second.body == {"markdown": "two", "footer": "3 s"}
    nothing = [Effect("reply:1:0", "reply", {"markdown": ""})]
    assert under(nothing, "3 s") == nothing
    assert under([notice], "3 s") == [notice]
