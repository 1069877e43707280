"""Run by the tests in a process without this project: load a folder with transformers alone and generate greedily.

python stranger.py FOLDER REQUEST.json ANSWER.pt
"""

import importlib.util
import json
import sys
from pathlib import Path

sys.path = [path for path in sys.path if not (Path(path) / "musicgen_core").exists()]
assert importlib.util.find_spec("musicgen_core") is None

import torch  # noqa: E402
import transformers  # noqa: E402

folder, request, answer = sys.argv[1:]
wanted = json.loads(Path(request).read_text())
model, report = getattr(transformers, wanted["class"]).from_pretrained(folder, output_loading_info=True)
faults = {key: sorted(map(str, value)) for key, value in report.items() if value}
assert not faults, faults

decode, codes = model.audio_encoder.decode, []


def listen(audio_codes, *arguments, **options):
    codes.append(audio_codes)
    return decode(audio_codes, *arguments, **options)


model.audio_encoder.decode = listen
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
inputs = tokenizer(wanted["captions"], padding=True, truncation=True, return_tensors="pt")
if "chroma" in wanted:
    inputs["input_features"] = torch.tensor(wanted["chroma"])
audio = model.generate(**inputs, do_sample=False, **wanted["options"])
torch.save({"ids": inputs["input_ids"], "codes": codes, "audio": audio}, answer)
