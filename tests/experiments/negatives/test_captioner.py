import pytest
import torch
from PIL import Image

from datamodules.captions import Captioned
from experiments.negatives import captioner as module
from experiments.negatives.captioner import INSTRUCTION, Captioner, caption_missing
from lightning_modules.errors import ImpastoError

PICTURE = Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 50).convert("RGB")
LETTERS = [chr(code) for code in range(32, 127)]
SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def letters(*marks):
    """A tokenizer of single letters."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = ["<unk>", "<s>", "</s>", "<pad>", *marks, *LETTERS]
    inner = Tokenizer(models.WordLevel({token: n for n, token in enumerate(tokens)}, unk_token=tokens[0]))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    named = dict(zip(("unk_token", "bos_token", "eos_token", "pad_token"), tokens, strict=False))
    return PreTrainedTokenizerFast(tokenizer_object=inner, **named, extra_special_tokens=list(marks))


def make_blip(folder, **_):
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate([*marks, "a", "pond", "tree", "boat"])})
    config = BlipConfig(
        text_config=SMALL | {
            "vocab_size": len(tokenizer), "encoder_hidden_size": 16, "projection_dim": 16, "bos_token_id": 2,
            "eos_token_id": 3, "pad_token_id": 0, "sep_token_id": 3, "max_position_embeddings": 160,
        },
        vision_config=SMALL | {"image_size": 32, "patch_size": 16, "projection_dim": 16},
        projection_dim=16,
    )  # fmt: skip
    image = BlipImageProcessor(size={"height": 32, "width": 32})
    return BlipForConditionalGeneration(config), BlipProcessor(image, tokenizer)


def make_git(folder, **_):
    from transformers import CLIPImageProcessor, GitConfig, GitForCausalLM, GitProcessor

    tokenizer = letters()
    config = GitConfig(
        **SMALL, vocab_size=len(tokenizer), max_position_embeddings=160, bos_token_id=1, eos_token_id=2, pad_token_id=3,
        vision_config=SMALL | {"image_size": 32, "patch_size": 16},
    )  # fmt: skip
    image = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return GitForCausalLM(config), GitProcessor(image, tokenizer)


def make_llava(folder, template=None):
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    tokenizer = letters("<image>")
    text = SMALL | {
        "model_type": "llama", "vocab_size": len(tokenizer), "num_key_value_heads": 2, "max_position_embeddings": 1024
    }  # fmt: skip
    vision = SMALL | {"model_type": "clip_vision_model", "image_size": 28, "patch_size": 14, "projection_dim": 16}
    config = LlavaConfig(
        text_config=text, vision_config=vision, vision_feature_layer=-1, image_seq_length=4,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    image = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor = LlavaProcessor(
        image, tokenizer, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=template,
    )  # fmt: skip
    return LlavaForConditionalGeneration(config), processor


TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{% for c in m.content %}{% if c.type == 'image' %}<image>"
    "{% else %}{{ c.text }}{% endif %}{% endfor %}{% endfor %}[reply]"
)
KINDS = {
    "blip": (make_blip, {}, None),
    "git": (make_git, {}, None),
    "llava": (make_llava, {}, f"USER: <image>\n{INSTRUCTION} ASSISTANT:"),
    "chat": (make_llava, {"template": TEMPLATE}, f"[user]<image>{INSTRUCTION}[reply]"),
}


@pytest.fixture(autouse=True)
def few_tokens(monkeypatch):
    monkeypatch.setattr(module, "NEW_TOKENS", 6)


@pytest.fixture(scope="module", params=KINDS)
def saved(request, tmp_path_factory):
    """A tiny random model as a folder, its parts, and what it is asked."""
    maker, options, asked = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(3)
    model, processor = maker(folder, **options)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder), model, processor, asked


def test_a_model_says_what_transformers_makes_it_say(saved):
    folder, model, processor, asked = saved
    inputs = processor(images=PICTURE, return_tensors="pt", **({} if asked is None else {"text": asked}))
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=6)[0]
    reply = tokens if asked is None else tokens[inputs["input_ids"].shape[1] :]
    expected = processor.decode(reply, skip_special_tokens=True)
    captioner = Captioner(folder, "cpu")
    assert captioner.describe(PICTURE) == " ".join(expected.split()).strip("\"' ")
    assert "USER" not in captioner.describe(PICTURE)


def test_captions_are_written_where_they_are_missing(tmp_path):
    for name in "ab":
        PICTURE.save(tmp_path / f"{name}.png")
    pictures = [Captioned(tmp_path / "a.png", "a", "kept"), Captioned(tmp_path / "b.png", "b")]
    seen = []
    caption_missing(pictures, lambda picture: seen.append(picture.size) or "a pond")
    assert seen == [(40, 30)]
    assert (tmp_path / "b.txt").read_text() == "a pond\n"
    assert not (tmp_path / "a.txt").exists()
    with pytest.raises(ImpastoError, match=r"says nothing of .*b\.png"):
        caption_missing(pictures, lambda picture: "")


@pytest.mark.parametrize("name", ["nobody/no-such-model", "missing-folder"])
def test_a_model_that_is_not_there_is_named(name):
    with pytest.raises(ImpastoError, match=f"The captioner {name} cannot be loaded .*hf download"):
        Captioner(name, "cpu")


def test_a_model_of_another_kind_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ImpastoError, match=r"cannot be loaded .*take an image-to-text model"):
        Captioner(str(tmp_path), "cpu")
