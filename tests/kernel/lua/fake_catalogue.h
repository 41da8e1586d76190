#pragma once

#include <memory>

#include "kernel/plugin/catalogue.h"

namespace colonnade::host {

// A catalogue of schemas without plugins: enough to build graphs, nothing to evaluate them. Ops: text, mamba, train,
// perplexity, size, lora, ia3, peft, mean, number, pair, probe; shrink twice, by the plugins first and second.
std::unique_ptr<Catalogue> make_fake_catalogue();

}  // namespace colonnade::host
