"""What a model is asked, when it is asked to write a story: one story a prompt, in our own words.

How the words reach a model, and what it answers, is not known here.
"""

import hashlib

WORDING = """\
Write one short story of 95 to 125 words, as a single paragraph of prose.

Topic: {topic}
Feeling: from the first sentence to the last, the main character feels {emotion}.

Let the reader sense the feeling without being told of it. Show it by what the character does, by \
what happens in the body, by what passes through the mind and by what is said aloud. Never write \
the word "{emotion}", any form of it, or another word for the same feeling.

Give the character a situation of their own, in the first or the third person. Begin with the \
story itself: no title, no introduction, and no remark before or after it."""


def story_prompt(emotion: str, topic: str) -> str:
    """The request for a story about `topic` whose character feels `emotion`."""
    return WORDING.format(topic=topic, emotion=emotion)


def wording_digest() -> str:
    """`sha256:…` of the wording, which every story written from it depends on."""
    return "sha256:" + hashlib.sha256(WORDING.encode()).hexdigest()
