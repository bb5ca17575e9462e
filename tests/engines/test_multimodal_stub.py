from jinja2 import Environment

from engines.multimodal_stub import SHARED_SETTINGS, TOKENS, stub_config, stub_template

OF_TEXT = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<s>default</s>' }}"
    "{% endif %}{{'<' + message['role'] + '>\n' + message['content'] + '</s>'}}{% endfor %}"
)
LLAMA = dict.fromkeys(SHARED_SETTINGS, 8) | {
    "rope_parameters": {"rope_theta": 1.0},
    "dtype": "bfloat16",
    "vocab_size": 100,
}


class Tokenizer:
    """A hundred words, and the tokens of media behind them."""

    def __len__(self):
        return 100 + len(TOKENS)

    def convert_tokens_to_ids(self, token):
        return 100 + list(TOKENS.values()).index(token)


def rendered(source, messages):
    return Environment().from_string(source).render(messages=messages)  # noqa: S701


def test_a_conversation_without_media_is_written_as_the_text_models_own_template_writes_it():
    for first in ("system", "user"):
        messages = [{"role": first, "content": "a {{ b }}\n"}, {"role": "assistant", "content": " c"}]
        assert rendered(stub_template(OF_TEXT), messages) == rendered(OF_TEXT, messages)


def test_parts_that_are_text_are_written_as_the_text_itself():
    parts = [{"role": "user", "content": [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]}]
    assert rendered(stub_template(OF_TEXT), parts) == rendered(OF_TEXT, [{"role": "user", "content": "a b"}])


def test_each_medium_leaves_its_token_where_it_stands():
    kinds = [{"type": kind} for kind in ("image", "video", "audio")]
    written = rendered(
        stub_template(OF_TEXT), [{"role": "user", "content": [*kinds, {"type": "text", "text": "what?"}]}]
    )
    assert written.endswith(
        "<user>\n<|vision_bos|><|IMAGE|><|vision_eos|><|vision_bos|><|VIDEO|><|vision_eos|>"
        "<|audio_bos|><|AUDIO|><|audio_eos|>what?</s>"
    )


def test_its_words_are_the_text_models_and_its_towers_end_in_their_width():
    made = stub_config(LLAMA, Tokenizer())
    thinker = made["thinker_config"]
    assert (
        thinker["text_config"]["rope_parameters"] == LLAMA["rope_parameters"]
    )  # positions of the text model, no others
    assert thinker["text_config"]["vocab_size"] == 107
    assert thinker["vision_config"]["out_hidden_size"] == thinker["audio_config"]["output_dim"] == 8
    assert thinker["image_token_index"] == 100
    assert made["enable_audio_output"] is False
