"""Run by the tests in a process without this project: load folders with transformers alone and generate greedily.

python stranger.py REQUESTS.json ANSWERS.pt
"""

import importlib.util
import json
import sys
from pathlib import Path

sys.path = [path for path in sys.path if not (Path(path) / "musicgen_core").exists()]
assert importlib.util.find_spec("musicgen_core") is None

import torch  # noqa: E402
import transformers  # noqa: E402


def answer(request):
    folder = request["folder"]
    model, report = getattr(transformers, request["class"]).from_pretrained(folder, output_loading_info=True)
    faults = {key: sorted(map(str, value)) for key, value in report.items() if value}
    assert not faults, faults
    decode, codes = model.audio_encoder.decode, []

    def listen(audio_codes, *arguments, **options):
        codes.append(audio_codes)
        return decode(audio_codes, *arguments, **options)

    model.audio_encoder.decode = listen
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(request["captions"], padding=True, truncation=True, return_tensors="pt")
    if "chroma" in request:
        inputs["input_features"] = torch.tensor(request["chroma"])
    audio = model.generate(**inputs, do_sample=False, **request["options"])
    return {"codes": codes, "audio": audio}


requests = json.loads(Path(sys.argv[1]).read_text())
torch.save({name: answer(request) for name, request in requests.items()}, sys.argv[2])
