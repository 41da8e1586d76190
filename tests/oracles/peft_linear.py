"""Makes tests/oracles/peft_linear.json with Hugging Face's `peft`: run by hand, its output is committed.

    pip install torch==2.11.0 peft==0.21.2
    python tests/oracles/peft_linear.py

A linear layer under LoRA (both scales) and under (IA)3 (on the output, and on the input as in feed-forward blocks), every
tensor random, in float64: weights, input, the output of the adapted layer, and weight and bias after merging.
"""

import json
import pathlib

import torch
from peft import IA3Config, LoraConfig, get_peft_model

IN, OUT, TOKENS = 7, 5, 4


class One(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(IN, OUT)

    def forward(self, x):
        return self.layer(x)


def numbers(tensor):
    return tensor.detach().tolist()


def case(config, adapter_names):
    model = One().double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    base = {"weight": numbers(model.layer.weight), "bias": numbers(model.layer.bias)}
    tuned = get_peft_model(model, config).double()
    tuned.eval()
    tensors = {}
    for name, parameter in tuned.named_parameters():
        for wanted in adapter_names:
            if wanted in name:
                torch.nn.init.normal_(parameter)
                tensors[wanted] = numbers(parameter)
    assert len(tensors) == len(adapter_names)
    x = torch.randn(TOKENS, IN, dtype=torch.float64)
    output = numbers(tuned(x))
    merged = tuned.merge_and_unload().layer
    return dict(base, x=numbers(x), adapter=tensors, output=output,
                merged_weight=numbers(merged.weight), merged_bias=numbers(merged.bias))


def main():
    torch.manual_seed(20)
    lora = dict(r=3, lora_alpha=7, target_modules=["layer"], lora_dropout=0.0)
    cases = {
        "lora": case(LoraConfig(**lora), ["lora_A", "lora_B"]),
        "lora_rank_stabilised": case(LoraConfig(use_rslora=True, **lora), ["lora_A", "lora_B"]),
        "ia3": case(IA3Config(target_modules=["layer"], feedforward_modules=[]), ["ia3_l"]),
        "ia3_feed_forward": case(IA3Config(target_modules=["layer"], feedforward_modules=["layer"]), ["ia3_l"]),
    }
    path = pathlib.Path(__file__).parent / "peft_linear.json"
    path.write_text(json.dumps(cases, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
